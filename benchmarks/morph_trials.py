"""Do mixtures of two people help a classifier of few people, and is it the warping that helps? Trials with random people.

    lssl generate-faces faces/ --subjects 240 --expressions all --size 64 --seed 0
    python benchmarks/morph_trials.py faces/ --half --trials 3

Each trial draws --people of the folder's first people to learn from and tests on all of its last ones. `real`: only their
faces; `morph`: half of each batch are mixtures of two of them with the same label, warped to one shape and blended; `blend`:
the same two, blended without warping (mixup within a class). All have the same number of iterations.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lssl.data import AttributeGroup, FaceDataset, FaceFolder, FaceFolderWriter, FaceRow, read_metadata, to_uint8
from lssl.data.landmarks import half_sides
from lssl.inference.morph import morph_faces
from lssl.training.classifier_training import ClassifierConfig, labelled_faces, predict_faces, train_classifier

ARMS = ("real", "morph", "blend")
_SHARES, _AT_ONCE = (0.25, 0.75), 25


def parts(folder: FaceFolder, people: int, trial: int) -> tuple[FaceFolder, FaceFolder]:
    """(faces to learn from, faces to test): of some of the first three eighths of the people, and of the last half."""
    names = sorted(set(folder.subjects))
    first = len(names) * 3 // 8
    chosen = [names[k] for k in np.random.default_rng([7, trial]).permutation(first)[:people]]
    return of_people(folder, chosen), of_people(folder, names[len(names) // 2 :])


def of_people(folder: FaceFolder, people: Sequence[str]) -> FaceFolder:
    return folder.select([row for row, who in enumerate(folder.subjects) if who in set(people)])


def write_mixtures(
    out: Path, real: FaceFolder, group: AttributeGroup, per_class: int, trial: int, *, bent: bool
) -> None:
    """Writes a folder of mixtures of random pairs of each class; both of a pair may be the same person, mirrored or not."""
    faces = FaceDataset(real, side="none")
    chance = torch.Generator().manual_seed(trial)
    writer = FaceFolderWriter(out, attributes=[group.name], settings={})

    def uniform() -> Tensor:
        return _SHARES[0] + (_SHARES[1] - _SHARES[0]) * torch.rand(_AT_ONCE, generator=chance)

    for value in group.values:
        rows = torch.tensor(real.rows_where(**{group.name: value}))
        for start in range(0, per_class, _AT_ONCE):
            chosen = [rows[torch.randint(len(rows), (_AT_ONCE,), generator=chance)] for _ in range(2)]
            one, other = (faces.batch(k, flip=torch.rand(_AT_ONCE, generator=chance) < 0.5) for k in chosen)
            assert one.landmarks is not None
            assert other.landmarks is not None
            shape, colour = uniform(), uniform()
            points = [half_sides(batch.landmarks, faces.size) for batch in (one, other)]
            if bent:
                mixed = morph_faces(one.image, other.image, points[0], points[1], shape, colour)[0]
            else:
                mixed = torch.lerp(one.image, other.image, colour[:, None, None, None])
            for k, picture in enumerate(to_uint8(mixed).permute(0, 2, 3, 1).numpy()):
                writer.add(FaceRow(f"{value}_{start + k:05d}", picture, real.subjects[0], "train", {group.name: value}))
    writer.finish()


def write_half(folder: FaceFolder, out: Path) -> FaceFolder:
    """The folder with pictures at half the size, written to `out`."""
    writer = FaceFolderWriter(out, attributes=folder.attributes, settings={})
    for row in range(len(folder)):
        with Image.open(folder.image_path(row)) as picture:
            small = np.asarray(picture.convert("RGB").reduce(2))
        points = None if folder.landmarks is None else ((folder.landmarks[row] + 0.5) / 2 - 0.5).astype(np.float32)
        values = {name: folder.columns[name][row] for name in folder.attributes}
        key = Path(folder.file_names[row]).stem
        writer.add(FaceRow(key, small, folder.subjects[row], folder.splits[row], values, landmarks=points))
    writer.finish()
    return read_metadata(out, attributes=folder.attributes)


def accuracy(
    learn: FaceFolder, test: FaceFolder, group: AttributeGroup, synthetic: Path | None, iterations: int, seed: int
) -> float:
    made = None
    if synthetic is not None:
        made = labelled_faces(read_metadata(synthetic, attributes=[group.name]), group.name, group=group)
    config = ClassifierConfig(iterations=iterations, seed=seed)
    trained = train_classifier(labelled_faces(learn, group.name, group=group), config, synthetic=made).classifier
    true, found = predict_faces(trained, labelled_faces(test, group.name, group=group))
    return 100 * float((true == found).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--attribute", default="expression")
    parser.add_argument("--people", type=int, default=15)
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--per-class", type=int, default=400)
    parser.add_argument("--iterations", type=int, default=800)
    parser.add_argument("--arm", action="append", choices=ARMS[1:], help="[default: all]")
    parser.add_argument("--half", action="store_true", help="half the pictures' size: a quarter of the time")
    given = parser.parse_args()
    folder = read_metadata(given.data, attributes=[given.attribute])
    group = folder.schema().groups[0]
    gains: dict[str, list[float]] = {}
    with TemporaryDirectory() as scratch:
        if given.half:
            folder = write_half(folder, Path(scratch) / "half")
        for trial in range(given.trials):
            learn, test = parts(folder, given.people, trial)
            alone = accuracy(learn, test, group, None, given.iterations, trial)
            print(json.dumps({"trial": trial, "arm": "real", "accuracy": round(alone, 2)}), flush=True)
            for arm in given.arm or ARMS[1:]:
                out = Path(scratch) / f"{arm}-{trial}"
                write_mixtures(out, learn, group, given.per_class, trial, bent=arm == "morph")
                found = accuracy(learn, test, group, out, given.iterations, trial)
                gains.setdefault(arm, []).append(found - alone)
                print(json.dumps({"trial": trial, "arm": arm, "accuracy": round(found, 2)}), flush=True)
    for arm, values in gains.items():
        spread = f" +- {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
        print(f"{arm}: {np.mean(values):+.1f}{spread} points over real faces alone, {given.people} people")


if __name__ == "__main__":
    main()

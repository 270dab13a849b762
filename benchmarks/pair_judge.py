"""Does a translated face show the other attribute more than its input did? A judge that sees both pictures of a person.

    python benchmarks/pair_judge.py london/ runs/london

For data with two classes that differ by little in some people (London's smiles), where a classifier of single pictures
is limited by the labels. Logistic regression on the difference of two pictures' landmarks (brows, eyes, nose, mouth;
dlib's, scaled and turned by the eyes) learns from real pairs of one person which of two pictures is of the second class.
Prints how often it is right on real pairs of unseen people (k folds, and the folder's split), and, trained on the
people of the split train, how many translations of the split test moved the way they were asked.
Needs dlib: pip install 'lssl[landmarks]'.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray

import lssl
from lssl.data import FaceDataset, read_metadata, to_uint8
from lssl.data.detect import EXTRA_MISSING, available, detect_landmarks
from lssl.data.images import read_image

_RIDGE = 0.05
Features = NDArray[np.float64]


def features(image: NDArray[np.uint8]) -> Features | None:
    """What the landmarks of a picture (H, W, 3) say of its expression; None where no face is found."""
    points = detect_landmarks(image)
    if points is None:
        return None
    left, right = points[36:42].mean(0), points[42:48].mean(0)
    axis = right - left
    across = axis / np.linalg.norm(axis)
    turn = np.stack([across, [-across[1], across[0]]])
    face = (points - (left + right) / 2) @ turn.T / np.linalg.norm(axis)
    return np.concatenate([face[17:].ravel(), (face[48:] - face[33]).ravel()]).astype(np.float64)


def fit(differences: Features) -> Callable[[Features], float]:
    """From differences (N, D), second class minus first, a score that is positive for such differences."""
    scale = np.sqrt((differences**2).mean(0)) + 1e-6
    inputs = torch.from_numpy(differences / scale)
    weights = torch.zeros(inputs.shape[1], dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.softplus(-(inputs @ weights)).mean() + _RIDGE * (weights**2).sum()
        value.backward()
        return value

    optimizer.step(loss)
    learnt = weights.detach().numpy()
    return lambda difference: float((difference / scale) @ learnt)


def right(judge: Callable[[Features], float], differences: Sequence[Features]) -> int:
    return sum(judge(difference) > 0 for difference in differences)


@click.command(help="Whether translated faces moved the way they were asked, by a judge of pairs.")
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--folds", default=6, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(data: Path, model: Path, folds: int, seed: int) -> None:
    if not available():
        raise click.ClickException(EXTRA_MISSING)
    folder = read_metadata(data)
    generator = lssl.load_generator(model)
    (group,) = generator.schema.groups
    if len(group.values) != 2:
        raise click.ClickException(f"{model} knows {len(group.values)} values of {group.name}; this judge compares two")
    first, second = group.values
    found: dict[tuple[str, str], Features] = {}
    for row, subject in enumerate(folder.subjects):
        seen = features(read_image(folder.image_path(row)))
        if seen is not None:
            found[subject, folder.columns[group.name][row]] = seen
    pairs = {s: found[s, second] - found[s, first] for s, v in found if v == second and (s, first) in found}
    people = sorted(pairs)
    unseen = set(folder.split("test").subjects)
    order = np.random.default_rng(seed).permutation(len(people))
    correct = 0
    for fold in range(folds):
        test = {people[k] for k in order[fold::folds]}
        judge = fit(np.array([pairs[s] for s in people if s not in test]))
        correct += right(judge, [pairs[s] for s in test])
    click.echo(f"real pairs of unseen people, {folds} folds: {correct} of {len(people)} right")
    judge = fit(np.array([pairs[s] for s in people if s not in unseen]))
    tested = [s for s in people if s in unseen]
    click.echo(f"real pairs of the split test: {right(judge, [pairs[s] for s in tested])} of {len(tested)} right")

    faces = FaceDataset(folder, generator.schema, split="test", side="none")
    batch = faces.batch(list(range(len(faces))))
    translated = to_uint8(generator.translate(batch.image, batch.landmarks, 1 - batch.y)).permute(0, 2, 3, 1).numpy()
    moves, lost = [], 0
    for row, image in enumerate(translated):
        value = faces.folder.columns[group.name][row]
        before, after = found.get((faces.folder.subjects[row], value)), features(image)
        if before is None or after is None:
            lost += 1
        else:
            moves.append(after - before if value == first else before - after)
    click.echo(f"translated faces that moved as asked: {right(judge, moves)} of {len(moves)}; no face found in {lost}")


if __name__ == "__main__":
    main()

"""Whether D_cls begins to learn: how many warm-up updates it takes until its loss is under 0.9 of chance level.

    python benchmarks/critic_begins.py prepared/ --size 64 --size 128 --seeds 3

`prepared/` is a data set folder (`lssl prepare`), whose pictures are resized; the method is `standard`, with its settings
(`--set NAME=VALUE` for others). Prints a line per run: the first update at which the mean loss of the last 50 is under 0.9
of chance level, and that mean at the end. Exit code 1 if any run has not begun.
"""

import sys
import tempfile
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image

from lssl.data import FaceFolder, FaceFolderWriter, FaceRow, read_metadata
from lssl.data.images import read_image
from lssl.methods.run import prepare_run
from lssl.training import TrainConfig
from lssl.training.distributed import Processes

_LEARNT, _WINDOW = 0.9, 50


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--size", "sizes", type=int, multiple=True, help="Repeatable.  [default: the folder's]")
@click.option("--seeds", default=3, show_default=True, help="How many.")
@click.option("--updates", default=400, show_default=True)
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A setting of standard; repeatable.")
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
@click.option("--threads", type=int, help="CPU threads.")
def main(
    folder: Path,
    sizes: tuple[int, ...],
    seeds: int,
    updates: int,
    assignments: tuple[str, ...],
    device: str,
    threads: int | None,
) -> None:
    if threads:
        torch.set_num_threads(threads)
    faces = read_metadata(folder)
    left_behind = 0
    print(f"{'size':>5} {'seed':>4} {'begins at':>9} {'loss / chance at the end':>25}")
    with tempfile.TemporaryDirectory() as temporary:
        for size in sizes or (Image.open(faces.image_path(0)).width,):
            resized = resize(faces, Path(temporary) / str(size), size)
            for seed in range(seeds):
                overrides = dict(one.split("=", 1) for one in assignments)
                config = TrainConfig.preset("standard").with_overrides(
                    {**overrides, "data.folder": str(resized), "seed": seed, "warm_up.updates": updates}
                )
                begins, end = warm_up(config, Path(temporary) / f"run-{size}-{seed}", device, updates)
                left_behind += begins is None
                print(f"{size:5} {seed:4} {begins or 'never':>9} {end:25.3f}", flush=True)
    sys.exit(1 if left_behind else 0)


def warm_up(config: TrainConfig, out: Path, device: str, updates: int) -> tuple[int | None, float]:
    """(the update at which D_cls had begun to learn or None, its mean loss at the end as a share of that at chance)."""
    loop = prepare_run(config, out, processes=Processes(device=torch.device(device)), quiet=True)
    update = next(loop.method.warm_up()).update
    losses = []
    with loop.steps.stream(), loop.plans(warm_up=True) as plans:
        for _ in range(updates):
            losses.append(loop.steps.run(update, plans.next())[0].clone())
    values = np.array(torch.stack(losses).tolist()) / loop.method.at_chance
    means = np.convolve(values, np.ones(_WINDOW) / _WINDOW, "valid")
    under = np.flatnonzero(means < _LEARNT)
    return (int(under[0]) + _WINDOW if len(under) else None), float(means[-1])


def resize(faces: FaceFolder, out: Path, size: int) -> Path:
    """The folder's faces and landmarks at another size."""
    writer = FaceFolderWriter(out, attributes=faces.attributes, settings={})
    for row in range(len(faces)):
        image = Image.fromarray(read_image(faces.image_path(row)))
        landmarks = None
        if faces.landmarks is not None:
            landmarks = ((faces.landmarks[row] + 0.5) * (size / image.width) - 0.5).astype(np.float32)
        writer.add(
            FaceRow(
                Path(faces.file_names[row]).stem,
                np.asarray(image.resize((size, size), Image.Resampling.LANCZOS)),
                faces.subjects[row],
                faces.splits[row],
                {name: faces.columns[name][row] for name in faces.attributes},
                landmarks=landmarks,
            )
        )
    writer.finish()
    return out


if __name__ == "__main__":
    main()

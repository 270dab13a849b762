"""Whether the critics of `standard` can see detail: do they tell smeared mouths from real ones, on unseen people?

    python benchmarks/critic_sight.py london-64/ london-128/          data set folders of `lssl prepare`
    python benchmarks/critic_sight.py london-64/ --seeds 0,1,2 --updates 300

D_cls warms up as in `lssl train`. Then only the critics are updated; their fakes are real faces whose mouths are blurred by
3% of the picture's side, as if by a generator that only smears. Prints the area under the curve between real and smeared
test faces (each asked for what it shows), for the critic of the whole face and for that of mouths. A critic that is blind to
this lets a generator smear. Fails (exit code 1) if the better of the two is under --bar.
"""

import sys
from dataclasses import replace
from pathlib import Path

import click
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from lssl.data import read_metadata
from lssl.data.landmarks import half_sides
from lssl.evaluation.report import Table, console_table
from lssl.methods.run import open_faces
from lssl.methods.standard import Batch, Method
from lssl.training.config import TrainConfig
from lssl.training.distributed import Processes
from lssl.training.face_method import Inputs

_BLUR = 0.03  # of the picture's side
_ROUND = 1.4  # the smeared ellipse, in half-widths of the mouth


class Smear(nn.Module):
    """Stands in for a generator that smears mouths; `landmarks` (N, 68, 2), in half-sides, are those of its next batch."""

    def __init__(self) -> None:
        super().__init__()
        self.landmarks = torch.empty(0)

    def forward(self, image: Tensor, side: Tensor | None, y: Tensor, y_source: Tensor) -> tuple[Tensor]:
        """Images (N, 3, S, S), blurred in a soft ellipse over the mouth; the others are ignored."""
        del side, y, y_source
        return (smeared(image, self.landmarks),)


def smeared(image: Tensor, landmarks: Tensor) -> Tensor:
    """Images (N, 3, S, S) whose mouths are blurred, by landmarks (N, 68, 2) in half-sides."""
    size = image.shape[2]
    sigma = _BLUR * size
    reach = max(1, round(3 * sigma))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).to(image)
    padded = F.pad(image, (reach,) * 4, mode="reflect")
    rows = F.conv2d(padded, weights.view(1, 1, 1, -1).expand(3, 1, 1, -1), groups=3)
    blurred = F.conv2d(rows, weights.view(1, 1, -1, 1).expand(3, 1, -1, 1), groups=3)
    mouth = landmarks[:, 48:60]
    centre = mouth.mean(1)
    radius = _ROUND * (mouth.amax(1) - mouth.amin(1))[:, :1] / 2
    ticks = ((torch.arange(size) + 0.5) / size * 2 - 1).to(image)
    x, y = (ticks[None] - centre[:, :1]) / radius, (ticks[None] - centre[:, 1:]) / (0.7 * radius)
    distance = (x[:, None, None, :] ** 2 + y[:, None, :, None] ** 2).sqrt()
    inside = ((1.2 - distance) / 0.4).clamp(0, 1)
    return image + inside * (blurred - image)


def sight(data: Path, seed: int, updates: int) -> dict[str, float]:
    """Areas under the curve for the critic of the whole face and for that of mouths, on the folder's test people."""
    config = TrainConfig.preset("standard").with_overrides({"data.folder": str(data), "seed": seed})
    folder = Method.select(read_metadata(data), config)
    processes = Processes()
    train, test = (open_faces(config, folder, folder.schema(), processes, split) for split in ("train", "test"))
    method = Method(Inputs(config, train, test, processes))
    smear = Smear()
    method.generator = smear  # type: ignore[assignment]
    step = 0
    for stage in method.warm_up():
        adam = torch.optim.Adam(method.critic.parameters(), stage.update.learning_rate, stage.update.betas)
        for _ in tqdm(range(stage.count), desc=f"{data.name}, seed {seed}: {stage.title}", leave=False):
            _step(adam, stage.update.loss(method.batch(method.draw(step, warm_up=True)))[0])
            step += 1
    critic = method.updates()[0]
    parameters = [*method.critic.parameters(), *method.parts.parameters()]
    adam = torch.optim.Adam(parameters, critic.learning_rate, critic.betas)
    share, ramp = critic.ramp
    for k in tqdm(range(updates), desc=f"{data.name}, seed {seed}: critics", leave=False):
        adam.param_groups[0]["lr"] = critic.learning_rate * min(1.0, share + (1 - share) * k / max(1, ramp))
        _step(adam, critic.loss(_own(method.batch(method.draw(k)), smear))[0])
    return _areas(method, test, smear)


def _own(batch: Batch, smear: Smear) -> Batch:
    """The batch with every face asked for what it shows; also gives its landmarks to `smear`."""
    smear.landmarks = batch.before
    return replace(batch, y=batch.y_source, after=batch.before, own=torch.ones_like(batch.own))


def _step(adam: torch.optim.Optimizer, loss: Tensor) -> None:
    adam.zero_grad(set_to_none=True)
    loss.backward()
    adam.step()


@torch.no_grad()
def _areas(method: Method, test, smear: Smear) -> dict[str, float]:  # type: ignore[no-untyped-def]
    faces = test.batch(torch.arange(len(test)))
    landmarks = half_sides(faces.landmarks, test.size)
    made = smeared(faces.image, landmarks)
    whole = [method._score(method.critic, method.seen(image), faces.y).flatten() for image in (faces.image, made)]
    still = torch.zeros(len(made), 3, 2)
    mouths = [method.crops(image, landmarks, still)[0] for image in (faces.image, made)]
    parts = [method._score(method.parts.mouth, crop, faces.y).flatten() for crop in mouths]
    return {"whole face": _area(*whole), "mouth": _area(*parts)}


def _area(real: Tensor, made: Tensor) -> float:
    return float((real[:, None] > made[None]).float().mean())


@click.command()
@click.argument("folders", type=click.Path(exists=True, file_okay=False, path_type=Path), nargs=-1, required=True)
@click.option("--seeds", default="0", show_default=True, help="Seeds, separated by commas.")
@click.option("--updates", default=300, show_default=True, help="Updates of the critics, after the warm-up of D_cls.")
@click.option("--bar", default=0.95, show_default=True, help="The least area under the curve that passes.")
def main(folders: tuple[Path, ...], seeds: str, updates: int, bar: float) -> None:
    """Measures whether standard's critics tell smeared mouths from real ones on unseen people."""
    rows, worst = [], 1.0
    for folder in folders:
        for seed in map(int, seeds.split(",")):
            areas = sight(folder, seed, updates)
            rows.append([f"{folder.name}, seed {seed}", areas["whole face"], areas["mouth"]])
            worst = min(worst, max(areas.values()))
    title = f"Smeared mouths after {updates} updates of the critics"
    click.echo(
        console_table(Table(title, ["data", "whole face", "mouth"], rows, "Area under the curve, unseen people."))
    )
    sys.exit(worst < bar)


if __name__ == "__main__":
    main()

"""Which parts of the method `standard` earn their place: trained without each of them, judged on unseen people.

    lssl generate-faces faces/ --subjects 100 --expressions all --size 64 --seed 0
    python benchmarks/standard_ablation.py faces/ --seed 0 -o ablation/

Trains a generator without each part (`--without`, repeatable; the whole one is `nothing`) by a preset, judges it as `lssl
train` does at its end, and prints a table of all that OUT holds. What is there already is not trained again, and a run that
was stopped goes on.
"""

import json
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import click
import torch
from torch import Tensor

from lssl.evaluation.experiments.run_report import judge_run
from lssl.methods import standard
from lssl.methods.run import run_training
from lssl.models.moving import Mover
from lssl.training import TrainConfig
from lssl.training.checkpoint import checkpoints

_REGIONS = ("mouth", "whole face")
_FLOW_AND_TONE = Mover.forward


def _light_alone(self: Mover, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    flow, tone = _FLOW_AND_TONE(self, x, y)
    return flow * 0, tone


# part: (settings, or what is put in its place: (owner, name, value))
_PARTS: dict[str, tuple[dict[str, Any], tuple[Any, str, Any] | None]] = {
    "nothing": ({}, None),
    "side image": ({"network.side_channels": 0}, None),
    "bidirectional loss": ({"losses.bidirectional": 0.0}, None),
    "flow": ({"losses.movement": 0.0, "losses.roughness": 0.0}, (Mover, "forward", _light_alone)),
    "movement taught by landmarks": ({"losses.movement": 0.0}, None),
    "critics of mouth and eyes": ({"losses.parts": 0.0}, None),
    "own pictures": ({"losses.paired": 0.0}, None),
    "being told": ({}, (standard, "_TOLD", 0.0)),
    "random moves": ({"data.jitter": 0.0}, None),
}


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", "-o", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--without", "parts", multiple=True, type=click.Choice(list(_PARTS)), help="Repeatable.  [default: each]")
@click.option("--preset", default="quick", show_default=True, help="quick, standard, finetune or few.")
@click.option("--seed", "seeds", type=int, multiple=True, default=(0,), show_default=True, help="Repeatable.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A setting of all; repeatable.")
@click.option("--threads", type=int, help="CPU threads.")
def main(
    folder: Path,
    out: Path,
    parts: tuple[str, ...],
    preset: str,
    seeds: tuple[int, ...],
    assignments: tuple[str, ...],
    threads: int | None,
) -> None:
    if threads:
        torch.set_num_threads(threads)
    for seed in seeds:
        for part in parts or _PARTS:
            run = out / f"{part.replace(' ', '-')}-{seed}"
            if not (run / "results.json").is_file():
                overrides = dict(one.split("=", 1) for one in assignments)
                train_without(part, folder, run, preset, {**overrides, "seed": seed})
    print_table(out)


def train_without(part: str, folder: Path, run: Path, preset: str, overrides: dict[str, Any]) -> None:
    settings, instead = _PARTS[part]
    config = TrainConfig.preset(preset).with_overrides({**overrides, **settings, "data.folder": str(folder)})
    with patch.object(*instead) if instead else nullcontext():
        _, finished = run_training(config, run, resume=bool(checkpoints(run / "checkpoints")), quiet=True)
        if not finished:
            raise SystemExit(130)  # by Ctrl-C
        print("\n".join(judge_run(run, folder, command=f"without {part}", seed=config.seed)), flush=True)


def print_table(out: Path) -> None:
    judges: list[str] = []
    rows = []
    for part in _PARTS:
        for file in sorted(out.glob(f"{part.replace(' ', '-')}-*/results.json")):
            figures = json.loads(file.read_text())["portraits"]
            made = {judge["judge"]: judge["made"] for judge in figures["judges"]}
            judges = judges or sorted(made)
            areas = {region: [e["area"] for e in figures["two_sample"] if e["region"] == region] for region in _REGIONS}
            moved = [e["ratio"] for e in figures["movement"] if e["ratio"] is not None]
            rows.append(
                [
                    part,
                    file.parent.name.rsplit("-", 1)[1],
                    *(f"{made[judge]:.1f}" for judge in judges),
                    *(f"{sum(areas[region]) / len(areas[region]):.2f}" for region in _REGIONS),
                    f"{median(moved):.2f}" if moved else "",
                    *(f"{figures['kept'][name]:.2f}" for name in ("identity", "sharpness")),
                ]
            )
    header = ["without", "seed", *judges, *(f"two-sample, {region}" for region in _REGIONS), "movement"]
    header += ["identity", "sharpness"]
    for row in [header, ["---"] * len(header), *rows]:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()

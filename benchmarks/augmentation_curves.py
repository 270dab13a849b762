"""The figure of docs/synthesize-to-learn.md: the gain over the number of synthesized faces, and over that of real people.

    lssl evaluate augmentation --data faces-32/ --real-subjects 15 --ratios 0.5,1,2,5,10,30 --out fig8 ...
    lssl evaluate augmentation --data faces-32/ --real-subjects 5 --out people-5 ...
    python benchmarks/augmentation_curves.py fig8 people-5 people-15 people-40 --out curves.png

The first folder gives the left part; all others the right one. Each must hold the results.json of `lssl evaluate
augmentation`. Bars and bands are 95% intervals over random draws of the tested people. Prints the figures, too.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from lssl.evaluation.experiments.augmentation_report import gain_interval
from lssl.evaluation.figures import new_figure

COLOURS = {"morph": "#2a9d5c", "blend": "#8a8f2a", "generator": "#2f7fd0", "standard": "#2f7fd0", "3d": "#8a4fc7"}
COLOURS |= {"stargan-small": "#c43b5b", "3d+morph": "#111111"}


def read(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Results by what made the faces, one per fold (and seed)."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    found: dict[str, list[dict[str, Any]]] = results.get("fold_results") or results["method_results"]
    return found


def gains_over_faces(results: dict[str, list[dict[str, Any]]]) -> dict[str, list[tuple[float, float, float]]]:
    """By source: (times the real faces, gain, half its interval) for each number of synthesized faces."""
    curves: dict[str, list[tuple[float, float, float]]] = {}
    for source, found in results.items():
        classes = len(found[0]["real"][0])
        real = float(np.mean([one["real_faces"] for one in found])) / classes
        for count in sorted(map(int, found[0]["synthetic"])):
            curves.setdefault(source, []).append((count / real, *gain_interval(found, count)))
    return curves


def gains_over_people(folders: list[Path]) -> dict[str, list[tuple[float, float, float]]]:
    """By source: (people, gain of the largest number of faces, half its interval), sorted by people."""
    curves: dict[str, list[tuple[float, float, float]]] = {}
    for folder in folders:
        for source, found in read(folder).items():
            people = float(np.mean([one["real_people"] for one in found]))
            count = max(map(int, found[0]["synthetic"]))
            curves.setdefault(source, []).append((people, *gain_interval(found, count)))
    return {source: sorted(points) for source, points in curves.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("people", type=Path, nargs="*")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    figure = new_figure(9.6, 3.8)
    left, right = figure.subplots(1, 2, sharey=True)
    parts = (
        (left, gains_over_faces(read(given.faces)), "synthesized faces, times the real ones"),
        (right, gains_over_people(given.people), "real people to learn from"),
    )
    for axes, curves, label in parts:
        axes.axhline(0, color="#c46a1b", linestyle="--", linewidth=1.3)
        ticks = set()
        for k, (source, points) in enumerate(curves.items()):
            x, gain, half = np.array(points).T
            shown = x * (1 + 0.02 * (k - (len(curves) - 1) / 2))
            colour = COLOURS.get(source, "#555555")
            axes.errorbar(shown, gain, yerr=half, fmt="o-", capsize=3, ms=4, linewidth=1.6, color=colour, label=source)
            ticks |= set(np.round(x, 1).tolist())
            for row in points:
                print(f"{label}: {source}, {row[0]:g}: {row[1]:+.2f} +- {row[2]:.1f}")
        axes.set_xscale("log")
        axes.set_xticks(sorted(ticks), [f"{tick:g}" for tick in sorted(ticks)])
        axes.minorticks_off()
        axes.set_xlim(min(ticks) / 1.6, max(ticks) * 1.6)
        axes.set_xlabel(label)
        axes.set_ylabel("points over real faces alone")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(given.out, dpi=150, bbox_inches="tight")


if __name__ == "__main__":
    main()

"""What a run reports: metrics.jsonl, the progress bar, losses.png (Fig. 11), and TensorBoard if it is installed."""

import importlib.util
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lssl.data.writer import write_atomic
from lssl.progress import tqdm
from lssl.training.losses import TERMS


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl, one per logged iteration; a last line cut short by a kill is left out."""
    rows = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
    return rows


class MetricsLog:
    """Appends one row per logged iteration; on resume, drops rows after the checkpoint, so that none appears twice."""

    def __init__(
        self, folder: Path, iteration: int, total: int, *, tensorboard: bool = True, quiet: bool = False
    ) -> None:
        self.path = folder / "metrics.jsonl"
        rows = [row for row in read_metrics(self.path) if row["iteration"] <= iteration]
        write_atomic(self.path, "".join(json.dumps(row) + "\n" for row in rows).encode(), sync=False)
        self._file = self.path.open("a", encoding="utf-8")
        self.bar = tqdm(total=total, initial=iteration, unit="it", disable=quiet, dynamic_ncols=True, smoothing=0.05)
        self._board: Any = None
        if tensorboard and importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=iteration + 1)

    def tick(self) -> None:
        """One iteration is done."""
        self.bar.update()

    def write(self, iteration: int, values: dict[str, float]) -> None:
        """Logs values: each term's mean since the last call, `seconds` per iteration, `learning_rate`."""
        self._file.write(json.dumps({"iteration": iteration, **{k: round(v, 6) for k, v in values.items()}}) + "\n")
        self._file.flush()
        self.bar.set_postfix_str(
            " ".join(f"{term.label}={values[name]:.3g}" for name, term in TERMS.items() if name in values),
            refresh=False,
        )
        if self._board is not None:
            for name, value in values.items():
                kind = {"d": "critic", "g": "generator"}.get(name.split("_")[0], "run")
                self._board.add_scalar(f"{kind}/{name}", value, iteration)

    def say(self, text: str) -> None:
        """Prints a line above the progress bar."""
        if not self.bar.disable:
            self.bar.write(text)

    @contextmanager
    def warm_up(self, what: str, count: int) -> Iterator[Callable[[], object]]:
        """A separate bar for `count` updates before the first iteration; call the function it yields after each. Their
        time does not count towards the time per iteration."""
        self.bar.clear()
        with tqdm(total=count, desc=what, unit="it", disable=self.bar.disable, dynamic_ncols=True, leave=False) as bar:
            yield bar.update
        if not self.bar.disable:
            self.bar.unpause()

    def close(self) -> None:
        self.bar.close()
        self._file.close()
        if self._board is not None:
            self._board.close()


def draw_losses(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """losses.png: each term over the iterations, one panel per term unless terms share one; the critic's first (Fig. 11)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    logged = {name for row in rows for name in row}
    panels: dict[str, list[str]] = {}
    for name, term in TERMS.items():
        if name in logged:
            panels.setdefault(term.panel, []).append(name)
    columns = min(4, max(1, len(panels)))
    lines = math.ceil(max(1, len(panels)) / columns)
    figure = Figure(figsize=(max(7.0, 3.5 * columns), 3.25 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    for k, (title, names) in enumerate(panels.items()):
        axes = figure.add_subplot(lines, columns, k + 1)
        for number, name in enumerate(names):
            x, y = zip(*((row["iteration"], row[name]) for row in rows if name in row), strict=True)
            axes.plot(x, y, linewidth=0.5, alpha=0.35, color=f"C{number}")
            axes.plot(x, _smooth(y), linewidth=1.4, color=f"C{number}", label=TERMS[name].label)
        if len(names) > 1:
            axes.legend(fontsize=8)
        axes.set_title(title, fontsize=10)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
        axes.set_xlabel("iteration", fontsize=9)
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format="png", dpi=90)
    temporary.replace(path)


def _smooth(values: Sequence[float]) -> NDArray[np.float64]:
    """Moving mean over a twentieth of the curve, shortened at the ends."""
    half = max(1, len(values) // 40)
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    smoothed: NDArray[np.float64] = (total[high] - total[low]) / (high - low)
    return smoothed

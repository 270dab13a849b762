"""What a run says about itself: metrics.jsonl, the progress bar, TensorBoard where it is installed."""

import importlib.util
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lssl.data.writer import write_atomic

#: Short names for the progress bar.
_SHORT = {
    "d_real": "real",
    "d_fake": "fake",
    "d_cls": "cls_r",
    "d_gp": "gp",
    "g_adv": "adv",
    "g_cls": "cls_f",
    "g_bi": "bi",
    "g_latent": "lat",
    "g_id": "id",
    "g_front": "front",
    "g_parse": "parse",
}


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The objects of a metrics.jsonl; a last line cut short by a kill is left out."""
    rows = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
    return rows


class MetricsLog:
    """Appends one object a logged iteration; on resume drops what lies after the checkpoint, so none stands twice."""

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
        """values: each term's mean since the last call, `seconds` an iteration, `learning_rate`."""
        self._file.write(json.dumps({"iteration": iteration, **{k: round(v, 6) for k, v in values.items()}}) + "\n")
        self._file.flush()
        self.bar.set_postfix_str(
            " ".join(f"{short}={values[name]:.3g}" for name, short in _SHORT.items() if name in values), refresh=False
        )
        if self._board is not None:
            for name, value in values.items():
                kind = {"d": "critic", "g": "generator"}.get(name.split("_")[0], "run")
                self._board.add_scalar(f"{kind}/{name}", value, iteration)

    @contextmanager
    def warm_up(self, what: str, count: int) -> Iterator[Callable[[], object]]:
        """A bar of its own for `count` updates before the first iteration; call what it gives after each. The time they
        take does not count as that of iterations."""
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

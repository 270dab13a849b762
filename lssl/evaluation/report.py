"""The results of an experiment as a page for people, and as JSON and CSV for programs."""

import base64
import csv
import html
import io
import json
import platform
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lssl.data.writer import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --page: #fff; --band: #f4f6f9;
        --mark: #0b6bcb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #9aa5b4; --line: #333c48; --page: #14181e;
        --band: #1c222a; --mark: #6cb2ff; } }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 60rem; background: var(--page); color: var(--ink);
       font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
p.about, p.note, figcaption { color: var(--soft); font-size: .9rem; }
p.note { margin: 0 0 .6rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; min-width: 50%; }
th, td { padding: .35rem .8rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid var(--ink); vertical-align: bottom; white-space: normal; }
tbody tr:nth-child(even) { background: var(--band); }
@media (max-width: 40rem) { table { width: 100%; font-size: .9rem; } th, td { padding: .35rem .4rem; }
        td:first-child { white-space: normal; min-width: 7rem; } }
td.best { font-weight: 700; color: var(--mark); }
figure { margin: 1rem 0; } figure img, figure svg { max-width: 100%; height: auto; }
figure img { border-radius: 6px; image-rendering: auto; }
svg text { fill: currentColor; }
code { background: var(--band); padding: .1rem .35rem; border-radius: 4px; overflow-wrap: anywhere; }
"""


@dataclass
class Table:
    """A table; `best` names the columns whose largest (or, with the prefix '-', smallest) value is highlighted."""

    title: str
    header: list[str]
    rows: list[list[Any]]
    note: str = ""
    best: list[str] = field(default_factory=list)


class Report:
    """Collects paragraphs, tables and pictures, then writes `report.html`, `results.json`, `results.csv`.

    Args:
        title: what was measured.
        command: the command line that repeats it.
        seed: the seed that it ran with.
    """

    def __init__(self, title: str, command: str, seed: int) -> None:
        self.title, self.command, self.seed = title, command, seed
        self.date = datetime.now(UTC).date().isoformat()
        self._began = time.monotonic()  # no change of the computer's time moves it
        self.earlier_seconds = 0.0  # spent before this object was created: training, interrupted calls
        self.tables: list[Table] = []
        self.conclusions: list[str] = []  # sentences that end the output on the console
        self.results: dict[str, Any] = {}
        self._body: list[str] = []

    def heading(self, text: str) -> None:
        """Starts a section."""
        self._body.append(f"<h2>{html.escape(text)}</h2>")

    def paragraph(self, text: str) -> None:
        """Adds plain text."""
        self._body.append(f"<p>{html.escape(text)}</p>")

    def table(self, table: Table) -> None:
        """Adds a table to the page, to `results.json` and to `results.csv`."""
        self.tables.append(table)
        marked = {name.lstrip("-"): _best_row(table, name) for name in table.best}
        head = "".join(f"<th>{html.escape(name)}</th>" for name in table.header)
        lines = []
        for index, row in enumerate(table.rows):
            cells = "".join(
                f"<td{' class=best' if marked.get(name) == index else ''}>{html.escape(format_value(value))}</td>"
                for name, value in zip(table.header, row, strict=True)
            )
            lines.append(f"<tr>{cells}</tr>")
        note = f"<p class=note>{html.escape(table.note)}</p>" if table.note else ""
        self._body.append(
            f"<h2>{html.escape(table.title)}</h2>{note}<div class=scroll><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{''.join(lines)}</tbody></table></div>"
        )

    def image(self, image: NDArray[np.uint8], caption: str, *, photographs: bool = False) -> None:
        """Adds a picture, uint8 (H, W, 3), embedded in the page: as PNG or, if it shows photographs, as high-quality JPEG."""
        buffer = io.BytesIO()
        if photographs:
            Image.fromarray(image).save(buffer, "JPEG", quality=92, subsampling=0)
        else:
            Image.fromarray(image).save(buffer, "PNG", optimize=True)
        data = base64.b64encode(buffer.getvalue()).decode()
        kind = "jpeg" if photographs else "png"
        text = html.escape(caption)
        # A wide sheet of faces keeps a readable size on a phone, where it scrolls.
        width = f"min-width:{min(image.shape[1], 640)}px" if image.shape[1] > 400 else ""
        self._body.append(
            f'<figure><div class=scroll><img alt="{text}" style="{width}" src="data:image/{kind};base64,{data}"></div>'
            f"<figcaption>{text}</figcaption></figure>"
        )

    def plot(self, figure: "Figure", caption: str) -> None:
        """Adds a matplotlib figure as SVG whose black follows the page's light or dark theme."""
        import matplotlib as mpl

        buffer = io.StringIO()
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lssl"}):
            figure.savefig(buffer, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
        svg = buffer.getvalue()
        svg = svg[svg.index("<svg") :].replace("#000000", "currentColor")
        self._body.append(f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>")

    def write(self, folder: str | Path) -> Path:
        """Writes the three files into `folder` (created if missing) and returns the page's path."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        seconds = self.earlier_seconds + time.monotonic() - self._began
        about = {
            "title": self.title,
            "command": self.command,
            "seed": self.seed,
            "date": self.date,
            "seconds": round(seconds, 1),
            "machine": machine_kind(),
        }
        tables = [{"title": t.title, "header": t.header, "rows": t.rows, "note": t.note} for t in self.tables]
        payload = {**about, "tables": tables, **self.results}
        write_atomic(folder / "results.json", (json.dumps(payload, indent=2, default=_plain) + "\n").encode())
        write_atomic(folder / "results.csv", self._values_as_csv().encode())
        page = (
            "<!doctype html><html lang=en><head><meta charset=utf-8>"
            "<meta name=viewport content='width=device-width, initial-scale=1'>"
            f"<title>{html.escape(self.title)}</title><style>{_STYLE}</style></head><body>"
            f"<h1>{html.escape(self.title)}</h1><p class=about>{about['date']}, {about['machine']}, "
            f"{_duration(seconds)}, seed {self.seed}<br><code>{html.escape(self.command)}</code></p>"
            f"{''.join(self._body)}</body></html>"
        )
        path = folder / "report.html"
        write_atomic(path, page.encode())
        return path

    def _values_as_csv(self) -> str:
        """Every value of every table in a row of its own."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(["table", "row", "column", "value"])
        for table in self.tables:
            for row in table.rows:
                for name, value in zip(table.header[1:], row[1:], strict=True):
                    writer.writerow([table.title, row[0], name, _plain(value)])
        return text.getvalue()


def format_value(value: Any) -> str:
    """A cell's text: floats with two decimals (more below 0.1), None as a dash, pairs as mean ± standard deviation."""
    if value is None:
        return "–"
    if isinstance(value, tuple | list):
        return " ± ".join(format_value(part) for part in value)
    if isinstance(value, float | np.floating):
        number = float(value)
        if not np.isfinite(number):
            return "–"
        return f"{number:.4f}" if 5e-5 <= abs(number) < 0.1 else f"{round(number, 2) + 0.0:.2f}"
    return str(value)


def console_table(table: Table) -> str:
    """The table as aligned plain text."""
    texts = [table.header, *[[format_value(value) for value in row] for row in table.rows]]
    widths = [max(len(row[i]) for row in texts) for i in range(len(table.header))]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in texts
    ]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join([table.title, *lines, *([table.note] if table.note else [])])


def machine_kind() -> str:
    """The machine in a few words: its GPU, or its processor architecture and number of threads."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"{platform.machine()} CPU, {threads} thread{'s' if threads > 1 else ''}"


def _best_row(table: Table, name: str) -> int | None:
    column = table.header.index(name.lstrip("-"))
    numbers: dict[int, float] = {}
    for index, row in enumerate(table.rows):
        value = row[column][0] if isinstance(row[column], tuple | list) else row[column]
        if isinstance(value, int | float | np.number) and np.isfinite(value):
            numbers[index] = float(value)
    if len(numbers) < 2:
        return None
    sign = -1 if name.startswith("-") else 1
    return max(numbers, key=lambda index: sign * numbers[index])


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return value


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

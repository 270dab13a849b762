"""Sample grids: unseen subjects, input and every target; a header with names. The losses' figure (Fig. 11)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lssl.data import AttributeSchema, FaceBatch, FaceDataset, to_uint8
from lssl.models import Generator

HEADER = 18


def sample_rows(dataset: FaceDataset, count: int) -> list[int]:
    """Rows of as many subjects as there are, spread over the data set, and over the attribute values of their pictures."""
    by_subject: dict[int, list[int]] = {}
    for row, subject in enumerate(dataset.subject_index.tolist()):
        by_subject.setdefault(subject, []).append(row)
    subjects = sorted(by_subject)
    count = min(count, len(dataset))
    chosen = [subjects[round(k * (len(subjects) - 1) / max(1, count - 1))] for k in range(count)]
    rows: list[int] = []
    for k, subject in enumerate(chosen):
        own = [row for row in by_subject[subject] if row not in rows] or by_subject[subject]
        rows.append(own[(k * max(1, len(own) // 2 + 1)) % len(own)])
    return rows


@torch.no_grad()
def translate_all(generator: Generator, batch: FaceBatch, schema: AttributeSchema) -> list[tuple[str, Tensor]]:
    """(name, x' (N, 3, H, W)) for each value of each group, the other groups left as they are in the input."""
    columns = []
    repeated = [value for _, value in schema.targets()]
    for group, value in schema.targets():
        name = value if repeated.count(value) == 1 and not schema.group(group).binary else f"{group} {value}"
        y = schema.with_value(batch.y, group, value)
        columns.append((name, generator(batch.image, batch.side, y)[0].float()))
    return columns


def sample_grid(generator: Generator, batch: FaceBatch, schema: AttributeSchema) -> Image.Image:
    """A row a face: the input, then each target, under a header with their names."""
    columns = [("input", batch.image), *translate_all(generator, batch, schema)]
    return labelled_grid([to_uint8(images) for _, images in columns], [name for name, _ in columns])


def labelled_grid(columns: Sequence[Tensor], names: Sequence[str], scale: int | None = None) -> Image.Image:
    """Columns of uint8 images (N, 3, H, W), a name above each; pictures under 128 pixels are shown enlarged."""
    side = columns[0].shape[-1]
    scale = max(1, 128 // side) if scale is None else scale
    pixels: NDArray[np.uint8] = torch.cat([torch.cat(list(c.cpu()), 1) for c in columns], 2).permute(1, 2, 0).numpy()
    body = Image.fromarray(np.ascontiguousarray(pixels))
    body = body.resize((body.width * scale, body.height * scale), Image.Resampling.BICUBIC)
    grid = Image.new("RGB", (body.width, body.height + HEADER), "white")
    grid.paste(body, (0, HEADER))
    draw = ImageDraw.Draw(grid)
    font = ImageFont.load_default(size=12)
    for k, name in enumerate(names):
        draw.text(((k + 0.5) * side * scale, HEADER / 2), name, fill="black", font=font, anchor="mm")
    return grid


_PANELS = (
    ("real images, -E[D(x, s)]", ("d_real",)),
    ("fake images, E[D(x', s')]", ("d_fake",)),
    ("classification of real images", ("d_cls",)),
    ("gradient penalty", ("d_gp",)),
    ("generator: adversarial", ("g_adv",)),
    ("generator: classification of fakes", ("g_cls",)),
    ("generator: bidirectional (image, latent)", ("g_bi", "g_latent")),
    ("generator: identity, parsing, frontal", ("g_id", "g_parse", "g_front")),
)


def draw_losses(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """losses.png: the critic's four panels of Fig. 11 above the generator's terms, over the iterations."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    for k, (title, names) in enumerate(_PANELS):
        axes = figure.add_subplot(2, 4, k + 1)
        for name in names:
            points = [(row["iteration"], row[name]) for row in rows if name in row]
            if points:
                x, y = zip(*points, strict=True)
                axes.plot(x, y, linewidth=0.5, alpha=0.35, color=f"C{names.index(name)}")
                axes.plot(x, _smooth(y), linewidth=1.4, color=f"C{names.index(name)}", label=name)
        if len(names) > 1 and axes.lines:
            axes.legend(fontsize=8)
        if not axes.lines:
            axes.text(0.5, 0.5, "not used", ha="center", va="center", color="0.5", transform=axes.transAxes)
            axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=10)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
        if k >= 4:
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

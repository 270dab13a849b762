"""Sample grids: unseen subjects, each with its input and every target, under a header with names."""

from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor

from lssl.data import AttributeSchema, FaceBatch, FaceDataset, to_uint8
from lssl.data.sheet import labelled_grid

#: (x, s, y) -> (x', s'), like a `Generator`; (x, s, y, y_source), if it has `takes_source`.
Translator = Callable[..., tuple[Tensor, Tensor | None]]


def sample_rows(dataset: FaceDataset, count: int) -> list[int]:
    """`count` rows, of different subjects as far as possible, spread over the data set and over the attribute values."""
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
def translate_all(generator: Translator, batch: FaceBatch, schema: AttributeSchema) -> list[tuple[str, Tensor]]:
    """(name, x' (N, 3, H, W)) for each value of each group; the other groups keep the input's values."""
    columns = []
    repeated = [value for _, value in schema.targets()]
    for group, value in schema.targets():
        name = value if repeated.count(value) == 1 and not schema.group(group).binary else f"{group} {value}"
        y = schema.with_value(batch.y, group, value)
        source = (batch.y,) if getattr(generator, "takes_source", False) else ()
        columns.append((name, generator(batch.image, batch.side, y, *source)[0].float()))
    return columns


def sample_grid(generator: Translator, batch: FaceBatch, schema: AttributeSchema) -> Image.Image:
    """A grid with one row per face: the input, then each target, under a header with their names."""
    columns = [("input", batch.image), *translate_all(generator, batch, schema)]
    return labelled_grid([to_uint8(images) for _, images in columns], [name for name, _ in columns])

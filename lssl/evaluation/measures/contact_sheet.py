"""A sheet for visual inspection at full size: photograph, result, the person's real picture of the class."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lssl.data.sheet import draw_sheet

_GAP = 6


def contact_sheet(
    rows: Sequence[Sequence[NDArray[np.uint8] | None]],
    titles: Sequence[str],
    names: Sequence[str] = (),
    *,
    side: int = 512,
) -> NDArray[np.uint8]:
    """One picture, uint8 (H, W, 3), with one row per person and one column per title.

    rows: uint8 pictures of any size, shown with their longer side at `side` pixels; None leaves a place empty.
    names: written above each row.
    """
    fitted = [[None if picture is None else _fitted(picture, side) for picture in row] for row in rows]
    height = max((picture.height for row in fitted for picture in row if picture), default=side)
    placed = [[_on_paper(picture, side, height) for picture in row] for row in fitted]
    return np.asarray(draw_sheet(placed, columns=titles, titles=names, tile=side, gap=_GAP))


def _fitted(picture: NDArray[np.uint8], side: int) -> Image.Image:
    """The picture with its longer side at `side` pixels."""
    shown = Image.fromarray(picture)
    scale = side / max(shown.size)
    size = (max(1, round(shown.width * scale)), max(1, round(shown.height * scale)))
    return shown if size == shown.size else shown.resize(size, Image.Resampling.LANCZOS)


def _on_paper(picture: Image.Image | None, side: int, height: int) -> NDArray[np.uint8]:
    paper = Image.new("RGB", (side, height), "white")
    if picture is not None:
        paper.paste(picture, (0, 0))
    return np.asarray(paper)

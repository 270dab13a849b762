"""A sheet to look at, at full size: photograph, result, the person's real picture of the class."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_GAP, _BAR = 6, 28


def contact_sheet(
    rows: Sequence[Sequence[NDArray[np.uint8] | None]],
    titles: Sequence[str],
    names: Sequence[str] = (),
    *,
    side: int = 512,
) -> NDArray[np.uint8]:
    """One picture, uint8 (H, W, 3): a row a person, a column a title.

    rows: uint8 pictures of any size, shown with their longer side at `side` pixels; None leaves a place empty. names: written at the left of each row's first picture.
    """
    fitted = [[None if picture is None else _fitted(picture, side) for picture in row] for row in rows]
    heights = [max((picture.height for picture in row if picture), default=0) + _GAP for row in fitted]
    sheet = Image.new("RGB", (len(titles) * (side + _GAP) - _GAP, _BAR + sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(18)
    for column, title in enumerate(titles):
        draw.text((column * (side + _GAP) + 4, 4), title, fill="black", font=font)
    top = _BAR
    for row, pictures in enumerate(fitted):
        for column, picture in enumerate(pictures):
            if picture is not None:
                sheet.paste(picture, (column * (side + _GAP), top))
        if row < len(names):
            draw.text((6, top + 4), names[row], fill="white", stroke_width=2, stroke_fill="black", font=font)
        top += heights[row]
    return np.asarray(sheet)


def _fitted(picture: NDArray[np.uint8], side: int) -> Image.Image:
    """The picture with its longer side at `side` pixels."""
    shown = Image.fromarray(picture)
    scale = side / max(shown.size)
    size = (max(1, round(shown.width * scale)), max(1, round(shown.height * scale)))
    return shown if size == shown.size else shown.resize(size, Image.Resampling.LANCZOS)

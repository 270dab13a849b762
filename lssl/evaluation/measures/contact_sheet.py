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

    rows: uint8 pictures of any size, shown with their longer side at `side` pixels (never enlarged more than needed for
        that); None leaves a place empty. names: written at the left of each row's first picture.
    """
    columns = len(titles)
    sheet = Image.new("RGB", (columns * (side + _GAP) - _GAP, _BAR + len(rows) * (side + _GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(18)
    for column, title in enumerate(titles):
        draw.text((column * (side + _GAP) + 4, 4), title, fill="black", font=font)
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            if picture is None:
                continue
            shown = Image.fromarray(picture)
            scale = side / max(shown.size)
            if scale != 1:
                size = (max(1, round(shown.width * scale)), max(1, round(shown.height * scale)))
                shown = shown.resize(size, Image.Resampling.LANCZOS)
            sheet.paste(shown, (column * (side + _GAP), _BAR + row * (side + _GAP)))
        if row < len(names):
            draw.text(
                (6, _BAR + row * (side + _GAP) + 4),
                names[row],
                fill="white",
                stroke_width=2,
                stroke_fill="black",
                font=font,
            )
    return np.asarray(sheet)

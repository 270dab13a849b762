"""Draws every contact sheet: rows of pictures with their names, for reports, samples and folders."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Picture = NDArray[np.uint8]  # (H, W, 3) or (H, W)

_PAPER, _INK = "white", (40, 40, 40)
_LINE = 15  # pixels that a line of text takes
_HEADER = 20
_LABEL = 130


def draw_sheet(
    rows: Sequence[Sequence[Picture]],
    *,
    heading: str = "",
    columns: Sequence[str] = (),
    titles: Sequence[str] = (),
    labels: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    tile: int | None = None,
    gap: int = 0,
    smooth: bool = True,
) -> Image.Image:
    """Rows of pictures of one size on white.

    Args:
        rows: pictures (H, W, 3) or (H, W), uint8; rows may differ in length.
        heading: a line above everything.
        columns: a name above each column.
        titles: a line above each row.
        labels: lines to the left of each row, separated by a newline.
        captions: a text below each picture, in lines separated by a newline; lines that are too wide are shortened.
        tile: a picture's side in pixels. By default pictures under 128 pixels are enlarged by a whole number.
        gap: pixels between pictures.
        smooth: enlarge with a bicubic filter; else every pixel stays a square (label maps).
    """
    height, width = rows[0][0].shape[:2]
    scale = max(1, 128 // width) if tile is None else tile / width
    size = (round(width * scale), round(height * scale))
    left = _LABEL if labels else 0
    under = _LINE * max((text.count("\n") + 1 for row in captions for text in row), default=0)
    band = (_LINE + 2) * bool(titles) + size[1] + under + gap
    top = (_HEADER + 4) * bool(heading) + _HEADER * bool(columns) + gap
    across = max(map(len, rows))
    page = Image.new("RGB", (left + gap + across * (size[0] + gap), top + band * len(rows)), _PAPER)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(12)
    if heading:
        draw.text((6, 6), heading, _INK, ImageFont.load_default(14))
    for k, name in enumerate(columns):
        middle = left + gap + k * (size[0] + gap) + size[0] / 2
        draw.text((middle, top - gap - _HEADER / 2), _fit(name, size[0], font), _INK, font, anchor="mm")
    for number, row in enumerate(rows):
        y = top + number * band
        if titles:
            draw.text((left + gap + 4, y + 1), titles[number], _INK, font)
            y += _LINE + 2
        if labels:
            draw.multiline_text((8, y + size[1] / 2), labels[number], _INK, font, anchor="lm", spacing=6)
        for column, picture in enumerate(row):
            x = left + gap + column * (size[0] + gap)
            page.paste(_resized(picture, size, smooth), (x, y))
            if captions:
                lines = [_fit(line, size[0], font) for line in captions[number][column].split("\n")]
                draw.multiline_text((x + 2, y + size[1] + 1), "\n".join(lines), _INK, font, spacing=2)
    return page


def labelled_grid(columns: Sequence[Tensor], names: Sequence[str]) -> Image.Image:
    """Columns of uint8 images (N, 3, H, W), a name above each; pictures under 128 pixels are shown enlarged."""
    arrays = [images.permute(0, 2, 3, 1).cpu().numpy() for images in columns]
    return draw_sheet(list(zip(*arrays, strict=True)), columns=names)


def _resized(picture: Picture, size: tuple[int, int], smooth: bool) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(picture)).convert("RGB")
    if image.size == size:
        return image
    shrinks = size[0] < image.width
    if not smooth:
        return image.resize(size, Image.Resampling.NEAREST)
    return image.resize(size, Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC)


def _fit(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    while len(text) > 1 and font.getlength(text) > width - 4:
        text = text[:-2] + "…"
    return text

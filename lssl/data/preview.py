"""A contact sheet of a data set folder: pictures with their landmarks, subject, attributes and split."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lssl.data.folder import FaceFolder
from lssl.data.landmarks import (
    INNER_LIPS,
    JAW,
    LEFT_BROW,
    LEFT_EYE,
    NOSE_BASE,
    NOSE_BRIDGE,
    OUTER_LIPS,
    RIGHT_BROW,
    RIGHT_EYE,
)

_LINES = (
    (JAW, False, (90, 220, 255)),
    (LEFT_BROW, False, (255, 210, 60)),
    (RIGHT_BROW, False, (255, 210, 60)),
    (NOSE_BRIDGE, False, (170, 255, 120)),
    (NOSE_BASE, False, (170, 255, 120)),
    (LEFT_EYE, True, (80, 255, 220)),
    (RIGHT_EYE, True, (80, 255, 220)),
    (OUTER_LIPS, True, (255, 110, 160)),
    (INNER_LIPS, True, (255, 110, 160)),
)
_INK, _PAPER, _TEST = (40, 40, 40), (255, 255, 255), (190, 60, 20)


def contact_sheet(folder: FaceFolder, *, columns: int = 8, rows: int = 6, tile: int = 160) -> Image.Image:
    """Up to columns x rows faces, spread evenly over the folder, each with its landmarks drawn and its labels below."""
    count = min(len(folder), columns * rows)
    chosen = np.unique(np.linspace(0, len(folder) - 1, count).round().astype(int))
    columns = min(columns, len(chosen))
    height = tile + 34
    lines = -(-len(chosen) // columns)
    gap = 6
    sheet = Image.new("RGB", (columns * (tile + gap) + gap, lines * (height + gap) + gap), _PAPER)
    for place, row in enumerate(chosen.tolist()):
        left = gap + (place % columns) * (tile + gap)
        top = gap + (place // columns) * (height + gap)
        sheet.paste(draw_face(folder, row, tile), (left, top))
        draw = ImageDraw.Draw(sheet)
        label = " ".join(folder.columns[name][row] for name in folder.attributes)
        colour = _TEST if folder.splits[row] == "test" else _INK
        first = f"{folder.subjects[row]} ({folder.splits[row]})"
        for number, text in enumerate((first, label)):
            draw.text((left + 2, top + tile + 2 + 15 * number), _fit(text, tile), fill=colour, font=_font())
    return sheet


def draw_face(folder: FaceFolder, row: int, tile: int) -> Image.Image:
    """One picture, `tile` pixels wide, with its landmarks (if any) drawn at four times the sharpness."""
    with Image.open(folder.image_path(row)) as image:
        size = image.size
        picture = image.convert("RGB").resize((tile, tile), Image.Resampling.LANCZOS)
    if folder.landmarks is None:
        return picture
    fine = 4
    overlay = Image.new("RGBA", (tile * fine, tile * fine), (0, 0, 0, 0))
    draw = ImageDraw.Draw(overlay)
    scale = np.array([tile / size[0], tile / size[1]]) * fine
    points = (folder.landmarks[row] + 0.5) * scale - 0.5
    for group, closed, colour in _LINES:
        line = [(float(x), float(y)) for x, y in points[list(group)]]
        draw.line(line + line[:1] if closed else line, fill=(*colour, 170), width=fine)
        for x, y in line:
            draw.ellipse((x - 1.3 * fine, y - 1.3 * fine, x + 1.3 * fine, y + 1.3 * fine), fill=(*colour, 255))
    overlay = overlay.resize((tile, tile), Image.Resampling.BOX)
    return Image.alpha_composite(picture.convert("RGBA"), overlay).convert("RGB")


def write_preview(folder: FaceFolder, path: Path) -> None:
    """Writes the contact sheet as a PNG."""
    contact_sheet(folder).save(path)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(12)


def _fit(text: str, width: int) -> str:
    font = _font()
    while len(text) > 1 and font.getlength(text) > width - 4:
        text = text[:-2] + "…"
    return text

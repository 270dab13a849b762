"""A contact sheet of a data set folder: pictures with their landmarks, subject, attributes and split."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

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
from lssl.data.sheet import draw_sheet
from lssl.data.writer import save_picture

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


def contact_sheet(folder: FaceFolder, *, columns: int = 8, rows: int = 6, tile: int = 160) -> Image.Image:
    """Up to columns x rows faces, spread evenly over the folder, each with its landmarks drawn and its labels below."""
    count = min(len(folder), columns * rows)
    chosen = np.unique(np.linspace(0, len(folder) - 1, count).round().astype(int)).tolist()
    lines = [chosen[start : start + columns] for start in range(0, len(chosen), columns)]

    def caption(row: int) -> str:
        labels = " ".join(folder.columns[name][row] for name in folder.attributes)
        return f"{folder.subjects[row]} ({folder.splits[row]})\n{labels}"

    return draw_sheet(
        [[np.asarray(draw_face(folder, row, tile)) for row in line] for line in lines],
        captions=[[caption(row) for row in line] for line in lines],
        tile=tile,
        gap=6,
    )


def draw_face(folder: FaceFolder, row: int, tile: int) -> Image.Image:
    """One picture, `tile` pixels wide, with its landmarks (if any) drawn at four times the resolution and averaged."""
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
    save_picture(path, contact_sheet(folder))

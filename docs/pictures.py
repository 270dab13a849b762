"""Makes the pictures of docs/ again, by the commands that the README names. Look at them before you commit them.

python docs/pictures.py            generated-faces.jpg, frontal.jpg, astronaut.jpg
python docs/pictures.py frontal    one of them

Those of the London set (london.jpg, edit-3d.jpg) are photographs of people, changed by `lssl synthesize london` and `3d`.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image

from lssl.data import read_metadata
from lssl.data.images import read_image
from lssl.data.landmark_files import write_pts
from lssl.data.sheet import draw_sheet

DOCS = Path(__file__).parent
EXPRESSIONS = ("neutral", "angry", "contemptuous", "disgusted", "fearful", "happy", "sad", "surprised")


def lssl(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "lssl", *map(str, words), "--quiet"], check=True)


def save(picture: Image.Image, name: str) -> None:
    picture.convert("RGB").save(DOCS / f"{name}.jpg", quality=88, optimize=True)


def generated_faces(work: Path) -> None:
    """Four people with eight expressions each."""
    lssl("generate-faces", work / "faces", "--subjects", 4, "--expressions", "all", "--size", 128, "--seed", 0)
    folder = read_metadata(work / "faces")
    rows = []
    for subject in sorted(set(folder.subjects)):
        own = [row for row in range(len(folder)) if folder.subjects[row] == subject]
        by = {folder.columns["expression"][row]: read_image(folder.image_path(row)) for row in own}
        rows.append([by[name] for name in EXPRESSIONS])
    save(draw_sheet(rows, columns=EXPRESSIONS, tile=128), "generated-faces")


def frontal(work: Path) -> None:
    """Eight people turned by 45 degrees, what `lssl render-frontal` draws of that, and how they look from the front."""
    lssl("generate-faces", work / "faces", "--subjects", 8, "--expressions", "all", "--yaw", "-45,0,45",
         "--size", 160, "--seed", 4)  # fmt: skip
    folder = read_metadata(work / "faces")
    photographs = work / "photographs"
    photographs.mkdir()
    columns: list[list[NDArray[np.uint8]]] = []
    assert folder.landmarks is not None
    for k, subject in enumerate(sorted(set(folder.subjects))):
        here = {
            yaw: next(
                row
                for row in range(len(folder))
                if folder.subjects[row] == subject
                and folder.columns["expression"][row] == EXPRESSIONS[k]
                and folder.columns["yaw"][row] == yaw
            )
            for yaw in ("-45", "0", "45")
        }
        turned = here["45" if k % 2 else "-45"]
        columns.append([read_image(folder.image_path(turned)), read_image(folder.image_path(here["0"]))])
        Image.fromarray(columns[-1][0]).save(photographs / f"{k}.png")
        write_pts(photographs / f"{k}.pts", folder.landmarks[turned])
    lssl("render-frontal", photographs, "-o", work / "frontal", "--background", "original", "--size", 160)
    for k, column in enumerate(columns):
        column.insert(1, read_image(next((work / "frontal" / "images").glob(f"{k}*.png"))))
    save(draw_sheet(list(zip(*columns, strict=True)), tile=160), "frontal")


def astronaut(work: Path) -> None:
    """The astronaut of scikit-image as photographed and from the front."""
    Image.fromarray(skimage.data.astronaut()).save(work / "astronaut.png")
    lssl("render-frontal", work / "astronaut.png", "-o", work / "frontal", "--background", "original", "--size", 320)
    save(Image.open(next((work / "frontal" / "comparisons").glob("*.png"))), "astronaut")


PICTURES = {"generated-faces": generated_faces, "frontal": frontal, "astronaut": astronaut}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *PICTURES], default=[])
    arguments = parser.parse_args()
    for name in arguments.names or PICTURES:
        with tempfile.TemporaryDirectory() as work:
            PICTURES[name](Path(work))
        print(DOCS / f"{name}.jpg")

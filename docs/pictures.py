"""Makes the pictures of docs/ again, by the commands that the README names. Look at them before you commit them.

python docs/pictures.py            generated-faces.jpg, frontal.jpg, astronaut.jpg, morph.gif, operators.png
python docs/pictures.py frontal    one of them

Those of the London set (london*.jpg, edit-3d.jpg, own-*.jpg, standard-*.jpg) are photographs of people, changed by `lssl synthesize
london`, by `3d` and by runs of `lssl train`.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import skimage
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
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


def morph(work: Path) -> None:
    """The astronaut's face going through expressions, as `lssl morph` writes it."""
    Image.fromarray(skimage.data.astronaut()).crop((100, 0, 356, 256)).save(work / "photo.png")
    lssl("morph", "3d", work / "photo.png", "--through", "photo,surprised,angry,sad", "--source", "happy",
         "--fps", 12, "--seconds", 0.6, "--hold", 0.4, "-o", DOCS / "morph.gif")  # fmt: skip


#: Bars of operators.png: what benchmarks/RESULTS.md calls them (operator, shape), and what a reader does.
BARS = {
    ("landmark_heatmap max", "8x1x128x128"): "landmark_heatmap, maximum of 68",
    ("rasterize", "64 x 10082 triangles, 128x128"): "rasterize, 64 heads",
    ("pixel_shuffle_instance_norm relu + backward, contiguous", "8x256x64x64"): "pixel_shuffle_instance_norm\nwith gradients",
    ("interpolate", "8x128x128x3"): "interpolate",
    ("gradient_penalty + parameter gradients", "8x6x128x128 width 64"): "gradient_penalty\nwith parameter gradients",
    ("critic step: features_and_penalty", "8x6x128x128 width 64"): "WGAN-GP critic, whole step",
}  # fmt: skip


def operators(_work: Path) -> None:
    """How many times as fast as eager PyTorch the operators are, as measured in benchmarks/RESULTS.md on its first machine."""
    text = (DOCS.parent / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8").split("\n## ")[1]
    ratios, names = {}, list[str]()
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "op":
            names = cells
        elif tuple(cells[:2]) in BARS and cells[2] == "float32":
            ratios[BARS[cells[0], cells[1]]] = float(cells[names.index("eager/native")].rstrip("x"))
    figure = Figure(figsize=(8, 3.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    bars = axes.barh(list(ratios)[::-1], list(ratios.values())[::-1], color="#3f7f78", height=0.62)
    axes.bar_label(bars, [f"{ratio:.3g} times" for ratio in list(ratios.values())[::-1]], padding=4)
    axes.set(xscale="log", xlim=(1, 2000), xlabel=f"as fast as eager PyTorch: {text.splitlines()[0]}, float32")
    axes.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(DOCS / "operators.png")


PICTURES = {
    "generated-faces": generated_faces,
    "frontal": frontal,
    "astronaut": astronaut,
    "morph": morph,
    "operators": operators,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *PICTURES], default=[])
    arguments = parser.parse_args()
    for name in arguments.names or PICTURES:
        with tempfile.TemporaryDirectory() as work:
            PICTURES[name](Path(work))
        print(*DOCS.glob(f"{name}.*"))

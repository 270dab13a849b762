"""Draws docs/house.svg, the picture of docs/architecture.md: `python docs/draw_house.py`."""

from pathlib import Path

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

LAYERS = (
    ("cli/", "one file per command: it parses options, makes one call, prints", "#dfe7f5"),
    ("lssl/evaluation/", "measures/  a file per measure      experiments/  a file per table or figure      report.py", "#dfe7f5"),
    ("lssl/inference/", "applies trained networks: photographs, folders, videos, frontal faces", "#dfe7f5"),
    ("lssl/methods/", "ONE FILE PER METHOD: paper.py (eq. 1 to 7), standard.py, pose.py, stargan.py ...", "#fbe3c8"),
    ("lssl/training/", "loop.py, the only loop      losses.py, the terms      seeds.py, all randomness      config.py", "#fbe3c8"),
    ("lssl/models/", "generator, critic, parser, classifier      files.py      pretrained/", "#dcefdc"),
    ("lssl/face3d/", "model/      scene/      fitting/      frontal/      editing/      procedural/", "#dcefdc"),
    ("lssl/data/", "folder, schema, dataset, landmarks      portrait.py, one photograph      readers/, a file per database", "#dcefdc"),
    ("lssl/ops/", "one file or package per operator: public function, fake, backward, reference", "#efe0ee"),
    ("csrc/", "one folder per operator: binding, CPU, CUDA; kernels never meet PyTorch's headers", "#efe0ee"),
)  # fmt: skip
HEIGHT, STEP, WIDTH = 0.78, 1.0, 13.2


def draw(path: Path) -> None:
    figure = Figure(figsize=(10.4, 7.6))
    FigureCanvasSVG(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.9, WIDTH + 0.4), ylim=(-len(LAYERS) * STEP + 0.1, 0.5))
    axes.axis("off")
    for row, (name, holds, colour) in enumerate(LAYERS):
        y = -row * STEP - HEIGHT
        box = FancyBboxPatch(
            (0, y), WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=0.12", facecolor=colour, edgecolor="#556", lw=1
        )
        axes.add_patch(box)
        axes.text(0.25, y + HEIGHT / 2, name, va="center", fontsize=12.5, family="monospace", color="#223")
        axes.text(3.3, y + HEIGHT / 2, holds, va="center", fontsize=10, color="#223")
    axes.annotate(
        "", (-0.45, -len(LAYERS) * STEP + 0.3), (-0.45, -0.05), arrowprops={"arrowstyle": "-|>", "color": "#556", "lw": 1.6}
    )  # fmt: skip
    axes.text(
        -0.68, -len(LAYERS) * STEP / 2, "imports", rotation=90, ha="center", va="center", fontsize=10, color="#556"
    )
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    import matplotlib

    matplotlib.rcParams["svg.hashsalt"] = "lssl"
    draw(Path(__file__).with_name("house.svg"))

"""Contact sheets of a face model: mean, identity modes, colours, expressions, poses, lightings."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lssl.data.folder import read_metadata
from lssl.data.sheet import draw_sheet
from lssl.face3d.model.bilinear import EXPRESSIONS, BilinearFaceModel
from lssl.face3d.scene.framing import portrait_camera
from lssl.face3d.scene.lighting import LIGHTINGS, Lighting
from lssl.face3d.scene.render import render

YAWS = (-90.0, -60.0, -45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0, 60.0, 90.0)
_SMALLEST_TILE = 96  # pixels that the longest name of an expression needs
_CROP_SCALE = 4.6

Tile = tuple[str, NDArray[np.uint8]]  # caption, picture
Row = tuple[str, list[Tile]]  # title, tiles


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """(N, H, W, 3) uint8 from images (N, 3, H, W) in [-1, 1], rounded."""
    array: NDArray[np.uint8] = (
        ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    )
    return array


def portraits(
    model: BilinearFaceModel,
    identity: Tensor,
    expression: Tensor,
    albedo: Tensor,
    size: int,
    *,
    yaw: Sequence[float] | float = 0.0,
    pitch: Sequence[float] | float = 0.0,
    lighting: str | Sequence[str] = "normal",
    background: float = 0.55,
    chunk: int = 8,
) -> NDArray[np.uint8]:
    """Pictures (N, size, size, 3) uint8 of faces given by weights (N, I), (N, E) and (N, A)."""
    count = len(identity)
    names = [lighting] * count if isinstance(lighting, str) else list(lighting)
    yaws = torch.as_tensor(yaw, dtype=torch.float32).expand(count)
    pitches = torch.as_tensor(pitch, dtype=torch.float32).expand(count)
    landmarks = torch.from_numpy(model.topology.landmarks).long()
    neutral = model.vertices(identity, model.expression("neutral")[None], landmarks)
    camera = portrait_camera(neutral, size, yaw=yaws, pitch=pitches, distance=130.0, crop_scale=_CROP_SCALE)
    pictures = []
    for start in range(0, count, chunk):
        rows = slice(start, start + chunk)
        vertices = model.vertices(identity[rows], expression[rows])
        lights = Lighting.named(names[rows])
        colours = model.albedo(albedo[rows])
        picture = render(vertices, colours, model.topology, camera[rows], lights, size, background=background)
        pictures.append(to_uint8(picture.images))
    return np.concatenate(pictures)


def model_sheet(model: BilinearFaceModel, size: int = 160, modes: int = 5, seed: int = 0) -> Image.Image:
    """The contact sheet of `lssl face-model show`: expressions; the first identity modes at -2 and +2 standard
    deviations; people drawn from the prior; yaw from -90 to 90; lightings."""
    generator = torch.Generator().manual_seed(seed)
    mean, plain = model.identity_mean, torch.zeros(model.num_albedo)
    neutral = model.expression("neutral")
    names = list(model.expressions)[:10]

    def row(title: str, captions: list[str], **weights: Tensor) -> Row:
        yaw, lighting = weights.pop("yaw", torch.tensor(0.0)), weights.pop("light", None)
        rows = len(captions)
        identity = weights.get("identity", mean[None]).expand(rows, -1)
        expression = weights.get("expression", neutral[None]).expand(rows, -1)
        albedo = weights.get("albedo", plain[None]).expand(rows, -1)
        lights = "normal" if lighting is None else list(LIGHTINGS)
        pictures = portraits(model, identity, expression, albedo, size, yaw=yaw.tolist(), lighting=lights)
        return title, list(zip(captions, pictures, strict=True))

    varying = [i for i in range(model.num_identity) if float(model.identity_std[i]) > 1e-2][:modes]
    steps, captions = [], ["mean"]
    for number, i in enumerate(varying, start=1):
        for sign in (-2.0, 2.0):
            weights = mean.clone()
            weights[i] += sign * model.identity_std[i]
            steps.append(weights)
            captions.append(f"identity {number}, {sign:+.0f} sd")
    people = model.sample_identity(10, generator)
    colours = model.sample_albedo(10, generator)
    rows = [
        row("Expressions", names, expression=torch.stack([model.expression(name) for name in names])),
        row("Expressions of another person", names, identity=people[:1], albedo=colours[:1],
            expression=torch.stack([model.expression(name) for name in names])),
        row("Identity", captions, identity=torch.stack([mean, *steps])),
        row("People", [""] * 10, identity=people, albedo=colours),
        row("Yaw", [f"{yaw:+.0f}" for yaw in YAWS], yaw=torch.tensor(YAWS)),
        row("Lighting", list(LIGHTINGS), light=torch.tensor(1.0)),
    ]  # fmt: skip
    return sheet(rows, size, heading=model.name)


def sheet(rows: list[Row], size: int, heading: str = "") -> Image.Image:
    """Titled rows of captioned square pictures, each `size` pixels wide."""
    return draw_sheet(
        [[picture for _, picture in tiles] for _, tiles in rows],
        titles=[title for title, _ in rows],
        captions=[[caption for caption, _ in tiles] for _, tiles in rows],
        heading=heading,
        tile=size,
    )


def folder_sheet(root: str | Path, subjects: int = 4, columns: int = 10) -> Image.Image:
    """A data set folder at a glance: the expressions of some subjects, then the first ones' poses and lightings."""
    folder = read_metadata(root)

    def tiles(rows: list[int], column: str) -> list[Tile]:
        values = folder.columns[column]
        return [(values[r], np.asarray(Image.open(folder.image_path(r)).convert("RGB"))) for r in rows]

    def rows_of(subject: str, column: str) -> list[int]:
        """One row for each value of a column, with the other attributes as frontal, neutral and normal as possible."""

        def rank(row: int) -> tuple[float, bool, bool, int]:
            c = folder.columns
            return (abs(float(c["yaw"][row])), c["lighting"][row] != "normal", c["expression"][row] != "neutral", row)

        best: dict[str, int] = {}
        for row in sorted((r for r in range(len(folder)) if folder.subjects[r] == subject), key=rank):
            best.setdefault(folder.columns[column][row], row)
        known = {"expression": EXPRESSIONS, "lighting": LIGHTINGS}.get(column, ())
        order = sorted(best, key=lambda name: (known.index(name) if name in known else len(known), best[name]))
        if column == "yaw":
            order.sort(key=float)
        return [best[value] for value in order][:columns]

    people = list(dict.fromkeys(folder.subjects))[:subjects]
    rows = [(f"Subject {person}", tiles(rows_of(person, "expression"), "expression")) for person in people]
    for column in ("yaw", "lighting"):
        if len(set(folder.columns[column])) > 1:
            rows += [(f"{column}, subject {person}", tiles(rows_of(person, column), column)) for person in people[:2]]
    return sheet(rows, max(rows[0][1][0][1].shape[0], _SMALLEST_TILE))

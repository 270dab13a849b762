"""Labelled faces from a face model: every identity x expression x yaw x lighting, with natural variation in each cell.

All randomness in a cell comes from (seed, subject, expression, yaw, lighting), so that a cell is the same face whatever
else is generated.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lssl.errors import LsslError
from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.face3d.scene.backgrounds import background
from lssl.face3d.scene.camera import Camera
from lssl.face3d.scene.framing import portrait_camera
from lssl.face3d.scene.gaze import turn_eyes
from lssl.face3d.scene.hair import HAIR_STYLES, Wig, hair_colour
from lssl.face3d.scene.lighting import LIGHTINGS, Lighting, light_colour
from lssl.face3d.scene.render import render, visible_points

# How much of the normal light falls on the wall, and the sensor's noise (sd of the encoded value, 0 to 1).
_WALL_LIGHT = {"normal": 1.0, "weak": 0.22, "dark": 0.06, "warm": 0.9, "cold": 0.9, "dim": 0.25}
_NOISE = {"normal": 0.006, "weak": 0.011, "dark": 0.016, "warm": 0.007, "cold": 0.007, "dim": 0.011}


@dataclass(frozen=True)
class GenerateConfig:
    """What to generate. yaw: degrees, positive to the image's right. variation scales all randomness within a cell; 0
    gives each expression at full strength, looking ahead, under fixed lights. hair: names in `HAIR_STYLES`; each
    subject has one of them ("model": the face model's own)."""

    subjects: int = 100
    expressions: tuple[str, ...] = ()  # empty: all that the model has
    yaw: tuple[float, ...] = (0.0,)
    lighting: tuple[str, ...] = ("normal",)
    size: int = 128
    seed: int = 0
    test_fraction: float = 0.2
    background: str = "random"
    variation: float = 1.0
    hair: tuple[str, ...] = ("model",)


@dataclass(frozen=True)
class Cell:
    """One picture to make. key names its files and sorts the cells by subject."""

    subject: int
    expression: str
    yaw: float
    lighting: str

    @property
    def key(self) -> str:
        return f"{self.subject:05d}_{self.expression}_{self.yaw:+04.0f}_{self.lighting}"


@dataclass(frozen=True)
class GeneratedFace:
    """image (3, H, W) uint8; mask (H, W) uint8 parser classes; landmarks (68, 2) pixels; visible (68,) bool; yaw, pitch
    and roll in degrees; intensity of the expression, 1 is full."""

    cell: Cell
    image: Tensor
    mask: Tensor
    landmarks: Tensor
    visible: Tensor
    yaw: float
    pitch: float
    roll: float
    intensity: float


@dataclass(frozen=True)
class _Chance:
    """What varies within a cell; angles in degrees."""

    expression: Tensor
    intensity: float
    yaw: float
    pitch: float
    roll: float
    gaze_yaw: float
    gaze_pitch: float
    distance: float
    crop_scale: float
    shift: tuple[float, float]
    azimuth: float
    elevation: float
    strength: float
    wall: NDArray[np.float32]
    noise: NDArray[np.float32]


class FaceGenerator:
    """Renders the cells of a `GenerateConfig` with a face model.

    Raises LsslError for an unknown expression, lighting, hair or background, a yaw beyond 90 degrees, a size outside 16
    to 2048, a value given twice, or nothing to generate.
    """

    def __init__(self, model: BilinearFaceModel, config: GenerateConfig) -> None:
        config = replace(config, expressions=config.expressions or tuple(model.expressions))
        for kind, given, known in (
            ("expression", config.expressions, tuple(model.expressions)),
            ("lighting", config.lighting, LIGHTINGS),
            ("hair", config.hair, HAIR_STYLES),
        ):
            if unknown := [name for name in given if name not in known]:
                raise LsslError(f"unknown {kind} {', '.join(unknown)}; known: {', '.join(known)}")
        if far := [yaw for yaw in config.yaw if not -90 <= yaw <= 90]:
            raise LsslError(f"yaw {', '.join(f'{yaw:g}' for yaw in far)}: expected -90 to 90 degrees")
        if config.subjects < 1 or not (config.yaw and config.lighting and config.hair):
            raise LsslError("nothing to generate: give at least one subject, one yaw, one lighting and one hair")
        if not 16 <= config.size <= 2048:
            raise LsslError(f"size {config.size}: expected 16 to 2048 pixels")
        if not 0 <= config.test_fraction <= 1:
            raise LsslError(f"test fraction {config.test_fraction}: expected 0 to 1")
        background(config.background, 2, np.random.default_rng(0))
        self.model, self.config = model, config
        self.cells = [
            Cell(*values) for values in product(range(config.subjects), config.expressions, config.yaw, config.lighting)
        ]
        if len({cell.key for cell in self.cells}) != len(self.cells):
            raise LsslError("an expression, a yaw (in whole degrees) or a lighting is given twice")
        self._wigs: dict[int, Wig] = {}
        order = np.random.default_rng([config.seed, 2]).permutation(config.subjects)
        tested = round(config.test_fraction * config.subjects)
        if 0 < config.test_fraction < 1 and config.subjects > 1:  # at least one on either side
            tested = min(max(tested, 1), config.subjects - 1)
        self.test_subjects = frozenset(order[:tested].tolist())

    def split(self, subject: int) -> str:
        """`train` or `test`; all pictures of a subject are in one."""
        return "test" if subject in self.test_subjects else "train"

    def identity(self, subject: int) -> tuple[Tensor, Tensor]:
        """Identity (I,) and albedo (A,) weights of a subject."""
        numbers = np.random.default_rng([self.config.seed, 1, subject])
        generator = torch.Generator().manual_seed(int(numbers.integers(2**62)))
        return self.model.sample_identity(1, generator)[0], self.model.sample_albedo(1, generator)[0]

    def wig(self, subject: int) -> tuple[Wig | None, Tensor]:
        """What a subject wears instead of the model's own hair (None keeps that), and the colour of a hat (3,)."""
        rng = np.random.default_rng([self.config.seed, 3, subject])
        style = self.config.hair[int(rng.integers(len(self.config.hair)))]
        side, fabric = 1 if rng.random() < 0.5 else -1, torch.from_numpy(rng.uniform(0.08, 0.75, 3)).float()
        if style == "model":
            return None, fabric
        wig = self._wigs.get(subject)
        if wig is None:
            wig = self._wigs[subject] = Wig(self.model, style, side, subject)
        return wig, fabric

    def hair(self, subject: int) -> str:
        """The style of a subject's hair."""
        wig, _ = self.wig(subject)
        return "model" if wig is None else wig.style

    def render(self, cells: Sequence[Cell]) -> list[GeneratedFace]:
        """The faces of some cells, in order; cells with the same hair are rendered together."""
        groups: dict[Wig | None, list[int]] = {}
        for n, cell in enumerate(cells):
            groups.setdefault(self.wig(cell.subject)[0], []).append(n)
        faces: dict[int, GeneratedFace] = {}
        for wig, places in groups.items():
            faces.update(zip(places, self._render([cells[n] for n in places], wig), strict=True))
        return [faces[n] for n in range(len(cells))]

    def _render(self, cells: Sequence[Cell], wig: Wig | None) -> list[GeneratedFace]:
        model, size = self.model, self.config.size
        chances = [self._chance(cell) for cell in cells]
        people = {subject: self.identity(subject) for subject in {cell.subject for cell in cells}}
        identity = torch.stack([people[cell.subject][0] for cell in cells])
        albedo = torch.stack([people[cell.subject][1] for cell in cells])

        def values(name: str) -> Tensor:
            return torch.tensor([getattr(chance, name) for chance in chances])

        landmark_vertices = torch.from_numpy(model.topology.landmarks).long()
        neutral = model.vertices(identity, model.expression("neutral")[None], landmark_vertices)
        camera = portrait_camera(
            neutral, size, yaw=values("yaw"), pitch=values("pitch"), roll=values("roll"), distance=values("distance")
        )
        camera = _nudge(camera, values("crop_scale"), values("shift"), size)
        vertices = model.vertices(identity, torch.stack([chance.expression for chance in chances]))
        vertices = turn_eyes(vertices, model.topology, values("gaze_yaw"), values("gaze_pitch"))
        lights = Lighting.named(
            [cell.lighting for cell in cells],
            azimuth=values("azimuth"),
            elevation=values("elevation"),
            strength=values("strength"),
        )
        walls = torch.from_numpy(np.stack([chance.wall for chance in chances]))
        colours = model.albedo(albedo)
        head, topology = vertices, model.topology
        if wig is not None:
            fabric = torch.stack([self.wig(cell.subject)[1] for cell in cells])
            worn = fabric if wig.style == "hat" else hair_colour(model, colours)
            vertices, colours, topology = wig.vertices(head), wig.albedo(colours, worn), wig.topology
        picture = render(vertices, colours, topology, camera, lights, size, background=walls)
        noise = torch.from_numpy(np.stack([chance.noise for chance in chances]))
        pixels = ((picture.images + 1) * 127.5 + noise * 255).round().clamp(0, 255).to(torch.uint8)
        landmarks = model.landmarks(camera.project(head))
        visible = visible_points(landmarks, picture.depth)
        return [
            GeneratedFace(
                cell=cell,
                image=pixels[n],
                mask=picture.classes[n],
                landmarks=landmarks[n, :, :2],
                visible=visible[n],
                yaw=chance.yaw,
                pitch=chance.pitch,
                roll=chance.roll,
                intensity=chance.intensity,
            )
            for n, (cell, chance) in enumerate(zip(cells, chances, strict=True))
        ]

    def _chance(self, cell: Cell) -> _Chance:
        names = (cell.expression, f"{cell.yaw:g}", cell.lighting)
        keys = [zlib.crc32(name.encode()) for name in names]
        rng = np.random.default_rng([self.config.seed, 0, cell.subject, *keys])
        amount, size, model = self.config.variation, self.config.size, self.model

        def normal(spread: float) -> float:
            return amount * spread * float(np.clip(rng.normal(), -2.5, 2.5))

        intensity = 1.0 + amount * float(rng.uniform(-0.25, 0.12))
        others = [name for name in model.expressions if name not in ("neutral", cell.expression)]
        trace = amount * float(rng.uniform(0, 0.1))
        weights = model.expression(cell.expression, intensity)
        if others:
            other = others[int(rng.integers(len(others)))]
            weights = weights + model.expression(other, trace) - model.expression("neutral")
        return _Chance(
            expression=weights,
            intensity=0.0 if cell.expression == "neutral" else intensity,
            yaw=cell.yaw + normal(1.5),
            pitch=normal(2.5),
            roll=normal(1.5),
            gaze_yaw=normal(5.0),
            gaze_pitch=normal(2.5),
            distance=130.0 * float(np.exp(normal(0.18))),
            crop_scale=float(np.exp(normal(0.02))),
            shift=(normal(0.008), normal(0.008)),
            azimuth=normal(12.0),
            elevation=normal(7.0),
            strength=float(np.exp(normal(0.08))),
            wall=background(self.config.background, size, rng, _WALL_LIGHT[cell.lighting], light_colour(cell.lighting)),
            noise=(amount * _NOISE[cell.lighting] * rng.standard_normal((3, size, size))).astype(np.float32),
        )


def _nudge(camera: Camera, scale: Tensor, shift: Tensor, size: int) -> Camera:
    """The camera scaled about the picture's middle and shifted by shares (N, 2) of its size."""
    middle = (size - 1) / 2
    return replace(
        camera,
        scale=camera.scale * scale,
        x=middle + (camera.x - middle) * scale + shift[:, 0] * size,
        y=middle + (camera.y - middle) * scale + shift[:, 1] * size,
    )

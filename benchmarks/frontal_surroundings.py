"""How `lssl render-frontal --background original` handles hair, light and covered eyes; part of frontal_accuracy.py.

People of a face model wear hair and hats (lssl/face3d/scene/hair.py), stand in front of a wall and are photographed turned;
the frontal rendering of the fit is compared with the same people seen from the front.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2lab
from torch import Tensor
from tqdm import tqdm

from lssl.evaluation.report import Table
from lssl.face3d import BilinearFaceModel, fit_landmarks, render_frontal
from lssl.face3d.scene.backgrounds import background
from lssl.face3d.scene.framing import portrait_camera
from lssl.face3d.scene.hair import Wig, hair_colour
from lssl.face3d.scene.lighting import Lighting, light_colour
from lssl.face3d.scene.render import GAMMA, render
from lssl.face3d.sheet import Tile, to_uint8
from lssl.ops import rasterize

STYLES = ("short", "long", "fringe", "sweep", "hat")
POSES = ((0.0, 0.0), (15.0, 0.0), (-30.0, 0.0), (45.0, 0.0), (0.0, -15.0), (0.0, 15.0))  # yaw, pitch
LIGHTS = ("normal", "warm", "cold", "dim", "filter")
TURN = 25.0  # degrees of yaw under the lights
_FILTER = (1.2, 0.75, 0.25)  # factors of the encoded channels: a lamp with hardly any blue
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # of linear red, green and blue
_EYES = 3  # the parser's class
_SPOT = 0.02  # margin around an eye, as a share of the picture's side

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Shot:
    """A picture (H, W, 3), its landmarks (1, 68, 2), and masks (H, W) of hair or hat, of the head, and of eyes that hair
    hides."""

    image: Picture
    landmarks: Tensor
    hair: NDArray[np.bool_]
    head: NDArray[np.bool_]
    hidden_eyes: NDArray[np.bool_]


@dataclass(frozen=True)
class Wearer:
    """One person with a wig, under one of `LIGHTS`, in front of a wall."""

    wig: Wig
    head: Tensor
    albedo: Tensor
    colour: Tensor
    light: str
    seed: int

    def photograph(self, size: int, yaw: float, pitch: float, distance: float) -> Shot:
        model, topology = self.wig.model, self.wig.topology
        places = self.head[:, torch.from_numpy(model.topology.landmarks).long()]
        camera = portrait_camera(places, size, yaw=yaw, pitch=pitch, distance=distance)
        named = "normal" if self.light == "filter" else self.light
        wall = background("random", size, np.random.default_rng(self.seed), tint=light_colour(named))
        vertices = self.wig.vertices(self.head)
        colours = self.wig.albedo(self.albedo, self.colour)
        lights, ground = Lighting.named(named), torch.from_numpy(wall)[None]
        image = to_uint8(render(vertices, colours, topology, camera, lights, size, background=ground).images)[0]
        if self.light == "filter":
            image = (image * np.array(_FILTER)).round().clip(0, 255).astype(np.uint8)
        bare = render(self.head, self.albedo, Wig(model, "none").topology, camera, lights, size)
        triangle, _, _ = rasterize(camera.project(vertices).contiguous(), torch.from_numpy(topology.faces), size, size)
        seen = triangle[0].numpy()
        hair = (seen >= 0) & self.wig.covers[seen]
        eyes = ndimage.binary_dilation(bare.classes[0].numpy() == _EYES, iterations=max(1, round(_SPOT * size)))
        return Shot(image, model.landmarks(camera.project(self.head))[..., :2], hair, seen >= 0, eyes & hair)


@dataclass
class Tally:
    """The figures of one row of a table, a value per wearer; shares in [0, 1], errors of chroma in CIELAB at equal
    luminance."""

    hair: list[float] = field(default_factory=list)
    bald: list[float] = field(default_factory=list)
    eyes: list[float] = field(default_factory=list)
    chroma: list[float] = field(default_factory=list)

    def add(self, drawn: Picture, true: Shot) -> None:
        like_hair, like_skin = _likeness(drawn, true)
        self.hair.append(float(like_hair[true.hair].mean()))
        self.bald.append(float(like_skin[true.hair].mean()))
        if true.hidden_eyes.sum() > 5:
            self.eyes.append(float(like_hair[true.hidden_eyes].mean()))
        difference = (rgb2lab(_as_bright(drawn, true.image)) - rgb2lab(true.image))[..., 1:]
        self.chroma.append(float(np.hypot(difference[..., 0], difference[..., 1])[true.head & ~true.hair].mean()))


def _as_bright(picture: Picture, other: Picture) -> NDArray[np.float64]:
    """A picture (H, W, 3), 0 to 1, with each pixel as bright as the other picture's, so that they differ only in colour."""
    linear, wanted = (image.astype(np.float64).clip(1) / 255 for image in (picture, other))
    linear, wanted = linear**GAMMA, wanted**GAMMA
    share = (wanted @ _LUMINANCE) / (linear @ _LUMINANCE)
    brightened: NDArray[np.float64] = (linear * share[..., None]).clip(0, 1) ** (1 / GAMMA)
    return brightened


def _likeness(drawn: Picture, true: Shot) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks (H, W) of pixels whose colour is nearest to the true hair's (of hair, skin and wall), and nearest to skin's.

    Hair and wall colours are local means of the true picture, since light and strands change them."""
    colours = drawn.astype(np.float64)
    skin = np.median(true.image[true.head & ~true.hair], axis=0)
    hair = _spread(true.image, true.hair)
    wall = _spread(true.image, ~true.head)
    away = [np.linalg.norm(colours - reference, axis=-1) for reference in (hair, skin, wall)]
    nearest = np.argmin(away, axis=0)
    return nearest == 0, nearest == 1


def _spread(image: Picture, where: NDArray[np.bool_]) -> NDArray[np.float64]:
    """At each pixel, the local mean colour (H, W, 3) of the pixels `where` (H, W)."""
    sigma = 0.06 * len(image)
    weight = ndimage.gaussian_filter(where.astype(np.float64), sigma) + 1e-9
    usual = image[where].mean(0) if where.any() else np.zeros(3)
    near = [ndimage.gaussian_filter(image[..., c] * where.astype(np.float64), sigma) for c in range(3)]
    mixed: NDArray[np.float64] = np.stack(
        [(n + 1e-4 * u) / (weight + 1e-4) for n, u in zip(near, usual, strict=True)], -1
    )
    return mixed


def wearers(model: BilinearFaceModel, count: int, style: str, light: str, seed: int) -> list[Wearer]:
    """People with one style of hair; the same people under each light."""
    generator = torch.Generator().manual_seed(seed)
    identity = model.sample_identity(count, generator)
    albedo = model.albedo(model.sample_albedo(count, generator))
    hair = hair_colour(model, albedo)
    if style == "hat":
        hair = 0.1 + 0.6 * torch.rand(count, 3, generator=generator)
    names = [name for name in ("neutral", "happy") if name in model.expressions]
    people = []
    for i in range(count):
        head = model.vertices(identity[i : i + 1], model.expression(names[i % len(names)])[None])
        wig = Wig(model, style, 1 if i % 2 else -1, i)
        people.append(Wearer(wig, head, albedo[i : i + 1], hair[i : i + 1], light, seed + i))
    return people


def measure(
    people: Sequence[Wearer],
    fitted: BilinearFaceModel,
    pose: tuple[float, float],
    size: int,
    noise: float,
    distances: tuple[float, float],
    tally: Tally,
) -> list[Picture]:
    """Adds people to the tally; returns photograph, drawn and true picture of the last one. distances: true and assumed, in
    centimetres."""
    generator = torch.Generator().manual_seed(people[0].seed)
    tiles: list[Picture] = []
    for person in people:
        shot = person.photograph(size, *pose, distances[0])
        true = person.photograph(size, 0.0, 0.0, distances[0])
        marks = shot.landmarks + noise * torch.randn(shot.landmarks.shape, generator=generator)
        fit = fit_landmarks(fitted, marks, distance=distances[1])
        drawn = render_frontal(fitted, fit, [shot.image], size=size, background="original").image
        tally.add(drawn, true)
        tiles = [shot.image, drawn, true.image]
    return tiles


def surroundings_tables(
    case: str,
    source: BilinearFaceModel,
    fitted: BilinearFaceModel,
    subjects: int,
    seed: int,
    size: int,
    noise: float,
    distances: tuple[float, float],
) -> tuple[list[Table], list[tuple[str, list[Tile]]]]:
    """Tables by style and by light for people of the model `source`, fitted with the model `fitted`; pictures for a sheet."""
    pages: list[tuple[str, list[Tile]]] = []
    rows: list[list[str | float]] = []
    work = tqdm(total=len(STYLES) * len(POSES) + len(LIGHTS), desc=f"{case}, hair and light", leave=False)
    for style in STYLES:
        people = wearers(source, subjects, style, "normal", seed)
        tiles: list[Tile] = []
        for pose in POSES:
            tally = Tally()
            name = f"yaw {pose[0]:+.0f}, pitch {pose[1]:+.0f}"
            pictures = measure(people, fitted, pose, size, noise, distances, tally)
            tiles += zip((f"{style}, {name}", "drawn", "true"), pictures, strict=True)
            eyes = float(np.mean(tally.eyes)) if tally.eyes else float("nan")
            rows.append([f"{style}, {name}", *map(float, map(np.mean, (tally.hair, tally.bald))), eyes])
            work.update()
        pages += [(f"{case}: {style}", tiles[:9]), ("", tiles[9:])]
    hair = Table(
        f"Hair and covered eyes, {case}",
        ["people", "hair kept", "skin for hair", "covered eyes left"],
        rows,
        note=f"{subjects} people per row; shares of the true picture's hair, and of its eyes under hair",
    )
    rows, tiles = [], []
    for light in LIGHTS:
        tally = Tally()
        for style in ("short", "long"):
            people = wearers(source, subjects, style, light, seed)
            pictures = measure(people, fitted, (TURN, 0.0), size, noise, distances, tally)
        tiles += zip((light, "drawn", "true"), pictures, strict=True)
        rows.append([light, float(np.mean(tally.chroma)), float(np.max(tally.chroma))])
        work.update()
    pages += [(f"{case}: lights", tiles[:9]), ("", tiles[9:])]
    work.close()
    chroma = Table(
        f"Chroma under tinted light, {case}",
        ["light", "chroma error (CIELAB)", "largest"],
        rows,
        note=f"over faces, ears and necks at yaw {TURN:g}; {2 * subjects} people per row; filter: red, green and blue times "
        + ", ".join(map(str, _FILTER)),
    )
    return [hair, chroma], pages

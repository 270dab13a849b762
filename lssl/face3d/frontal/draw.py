"""The simulated frontal face (paper 3.2): a fitted face, coloured by its photographs, drawn from the front."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from lssl.face3d.fitting.fit import FaceFit
from lssl.face3d.frontal.doubts import doubts
from lssl.face3d.frontal.paint import FacePainter, blurred
from lssl.face3d.frontal.surroundings import Surroundings, surroundings
from lssl.face3d.frontal.texture import Target, smooth_step
from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.face3d.model.face_region import face_region
from lssl.face3d.model.normals import vertex_normals
from lssl.face3d.scene.framing import portrait_camera
from lssl.ops import interpolate

BACKGROUNDS = ("plain", "original", "blur")
_PLAIN = 0.5  # grey, encoded
_SUPERSAMPLE = 2
_OUT_OF_FOCUS, _EDGE = 0.05, 0.012  # shares of the picture's side


@dataclass(frozen=True)
class FrontalFace:
    """image uint8 (size, size, 3); mask float (size, size), the face's coverage in [0, 1]; seen float (size, size), how
    well the photographs themselves show each pixel (the rest is mirrored or filled); landmarks (68, 2) pixels;
    vertex_colours (V, 3) in [0, 1] and vertices (V, 3) centimetres; doubts: why it may look wrong, in words."""

    image: NDArray[np.uint8]
    mask: NDArray[np.float32]
    seen: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    vertices: Tensor
    vertex_colours: Tensor
    doubts: tuple[str, ...] = ()


def render_frontal(
    model: BilinearFaceModel,
    fit: FaceFit,
    images: list[NDArray[np.uint8]],
    *,
    subject: int = 0,
    size: int = 128,
    expression: Tensor | None = None,
    yaw: float = 0.0,
    pitch: float = 0.0,
    background: str = "plain",
    remove_light: bool = False,
    use_mirror: bool = True,
) -> FrontalFace:
    """Draws one subject's fitted face from the front, coloured by all of its photographs.

    Args:
        model, fit: the face model and what `fit_landmarks` returned with it.
        images: the subject's V photographs, uint8 (H, W, 3), in the fit's order; any size.
        subject: which subject of the fit.
        size: side of the square picture, framed as `lssl prepare` frames photographs.
        expression: (E,) weights to draw; the first view's own if not given.
        yaw, pitch: degrees; 0 is frontal.
        background: "plain" grey; "original": the first photograph's surroundings, warped to meet the face; "blur": the
            same, out of focus.
        remove_light: draw the face in even light; else in the photographs' light, which keeps its direction while the
            head turns.
        use_mirror: fill what no view shows from the other half of the face.

    What is seen on neither side is filled smoothly over the mesh, guided by the model's albedo. Raises ValueError for
    an unknown background, a wrong number of images, or a face outside its photograph.
    """
    painter = FacePainter(model, fit, images, subject=subject, size=size, remove_light=remove_light)
    return draw_face(
        painter, size, expression=expression, yaw=yaw, pitch=pitch, background=background, use_mirror=use_mirror
    )


def draw_face(
    painter: FacePainter,
    size: int,
    *,
    expression: Tensor | None = None,
    yaw: float = 0.0,
    pitch: float = 0.0,
    background: str = "plain",
    use_mirror: bool = True,
) -> FrontalFace:
    """As `render_frontal`, from photographs that have been prepared already; for several pictures of one face."""
    if background not in BACKGROUNDS:
        raise ValueError(f"background is {background!r}; choose one of {', '.join(BACKGROUNDS)}")
    model, mesh = painter.model, painter.mesh(expression)
    places = mesh[None, torch.from_numpy(model.topology.landmarks).long()]
    # From the photograph's own distance, or a face that looked straight ahead in it would come out different.
    distance = float(painter.fit.camera.distance[painter.first])
    camera = portrait_camera(places, size, yaw=yaw, pitch=pitch, distance=distance)
    fine = camera.zoom(_SUPERSAMPLE)
    target = painter.target(mesh, fine, size * _SUPERSAMPLE)
    normals = camera.rotate(vertex_normals(mesh, painter.faces, model.topology.weld))[0]
    colours = painter.vertex_colours(painter.irradiance(normals))
    face, seen = painter.paint(target, colours, use_mirror, painter.stillness(camera))
    covered = (target.triangle[0] >= 0).float()
    around: Surroundings | None = None
    if background == "plain":
        alpha, behind = covered, torch.full_like(face, _PLAIN)
    else:
        around = surroundings(painter, mesh, fine, len(face))
        alpha, behind = _share_of_face(painter, target) * (1 - around.hair), around.picture
        if background == "blur":
            behind = blurred(behind, _OUT_OF_FOCUS * len(face))
    picture = face * alpha[..., None] + behind * (1 - alpha[..., None])
    return FrontalFace(
        image=(_shrunk(picture).clip(0, 1) * 255).round().astype(np.uint8),
        mask=_shrunk(covered[..., None])[..., 0],
        seen=_shrunk(seen[..., None])[..., 0],
        landmarks=model.landmarks(camera.project(mesh))[0, :, :2].numpy().astype(np.float32),
        vertices=mesh,
        vertex_colours=colours,
        doubts=doubts(painter, camera, around),
    )


def _share_of_face(painter: FacePainter, target: Target) -> Tensor:
    """The drawn face's share of each pixel (H, W) over its photograph: less at its edge, none on ears and neck."""
    held = face_region(painter.model)[None, :, None]
    region = interpolate(target.triangle, target.barycentric, target.faces, held)[0, ..., 0]
    inside = ndimage.distance_transform_edt(np.pad(region.numpy() > 0, 1))[1:-1, 1:-1]
    return region * smooth_step(torch.from_numpy((inside / (_EDGE * len(inside))).astype(np.float32)))


def _shrunk(values: Tensor) -> NDArray[np.float32]:
    """(H, W, C) averaged over the samples of each pixel."""
    small = F.avg_pool2d(values.permute(2, 0, 1)[None], _SUPERSAMPLE)[0].permute(1, 2, 0)
    return small.numpy().astype(np.float32)

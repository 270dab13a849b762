"""The simulated frontal face (paper 3.2): a fitted face, coloured by its photographs, drawn from the front."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from lssl.face3d.bilinear import BilinearFaceModel
from lssl.face3d.camera import Camera
from lssl.face3d.fitting import FaceFit
from lssl.face3d.framing import portrait_camera
from lssl.face3d.membrane import Membrane
from lssl.face3d.relight import broad_normals, irradiance, well_exposed
from lssl.face3d.render import GAMMA
from lssl.face3d.surroundings import face_region, surroundings
from lssl.face3d.texture import (
    PosedView,
    Target,
    beside_jumps,
    blend_views,
    fill_over_mesh,
    pose_view,
    sample_view,
    smooth_step,
    vertex_colours,
    vertex_normals,
)
from lssl.face3d.topology import Part
from lssl.ops import interpolate, rasterize

BACKGROUNDS = ("plain", "original", "blur")
# Parts that a photograph can colour; the model's hair and clothes need not be where the photograph's are, and the
# dark inside of a mouth is drawn only where the photograph shows it.
_FACE_PARTS = tuple(part for part in Part if part not in (Part.HAIR, Part.CLOTHES, Part.LASHES))
_HOLLOW = (Part.INNER_MOUTH, Part.TEETH, Part.TONGUE)
_PLAIN = 0.5  # grey, encoded
_SUPERSAMPLE = 2
_WORSE, _AS_GOOD = 0.3, 0.7


@dataclass(frozen=True)
class FrontalFace:
    """image uint8 (size, size, 3); mask float (size, size), the face's coverage in [0, 1]; seen float (size, size),
    how well photographs saw each pixel themselves (the rest is mirrored or filled); landmarks (68, 2) pixels;
    vertex_colours (V, 3) in [0, 1] and vertices (V, 3) centimetres, for a textured mesh."""

    image: NDArray[np.uint8]
    mask: NDArray[np.float32]
    seen: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    vertices: Tensor
    vertex_colours: Tensor


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
        background: "plain" grey; "original": the first photograph's surroundings, bent to meet the face; "blur": the
            same, out of focus.
        remove_light: draw the face in even light; else in the first photograph's light, which stays where it is while
            the head turns.
        use_mirror: fill what no view saw from the other half of the face.

    What neither side was seen is filled smoothly over the mesh, led by the model's albedo. Raises ValueError for an
    unknown background, a wrong number of images, or a face outside its photograph.
    """
    if background not in BACKGROUNDS:
        raise ValueError(f"background is {background!r}; choose one of {', '.join(BACKGROUNDS)}")
    if len(images) != fit.views:
        raise ValueError(f"the fit has {fit.views} views, but {len(images)} images were given")
    first = subject * fit.views
    identity = fit.identity[subject : subject + 1]
    if remove_light:
        images = [well_exposed(image, fit.landmarks[first + v].numpy()) for v, image in enumerate(images)]
    views = [_posed(model, fit, subject, v, image, size, remove_light) for v, image in enumerate(images)]
    weights = fit.expression[first] if expression is None else expression.to(fit.expression)
    mesh = model.vertices(identity, weights[None])[0]
    places = mesh[None, torch.from_numpy(model.topology.landmarks).long()]
    camera = portrait_camera(places, size, yaw=yaw, pitch=pitch)

    def lit(normals: Tensor) -> Tensor:
        return views[0].even.expand_as(normals) if remove_light else irradiance(views[0].light, normals)

    fine = camera.zoom(_SUPERSAMPLE)
    target = _target(model, mesh, fine, size * _SUPERSAMPLE, lit)
    faces = target.faces
    normals = camera.rotate(vertex_normals(mesh, faces, model.topology.weld))[0]
    colours = _mesh_colours(model, views, faces, lit(normals))
    face, seen = _paint(model, views, target, colours, use_mirror)
    covered = (target.triangle[0] >= 0).float()
    if background == "plain":
        alpha, behind = covered, torch.full_like(face, _PLAIN)
    else:
        source = model.vertices(identity, fit.expression[first : first + 1])
        origin = fit.camera[first : first + 1].project(source)[..., :2]
        held = face_region(model)[None, :, None]
        where = interpolate(target.triangle, target.barycentric, faces, torch.cat([origin, held], -1))[0]
        region = where[..., 2] * covered
        behind = surroundings(
            images[0],
            fit.landmarks[first].double().numpy(),
            fine.project(mesh)[0, fit.indices[first], :2].double().numpy(),
            where[..., :2].double().numpy(),
            region.numpy() > 0.5,
        )
        if background == "blur":
            behind = _blurred(behind, 0.05 * size * _SUPERSAMPLE)
        alpha = _inner_edge(region, 0.012 * size * _SUPERSAMPLE)
    picture = face * alpha[..., None] + behind * (1 - alpha[..., None])
    return FrontalFace(
        image=(_shrunk(picture).clip(0, 1) * 255).round().astype(np.uint8),
        mask=_shrunk(covered[..., None])[..., 0],
        seen=_shrunk(seen[..., None])[..., 0],
        landmarks=model.landmarks(camera.project(mesh))[0, :, :2].numpy().astype(np.float32),
        vertices=mesh,
        vertex_colours=colours,
    )


def _posed(
    model: BilinearFaceModel, fit: FaceFit, subject: int, view: int, image: NDArray[np.uint8], size: int, broad: bool
) -> PosedView:
    """A subject's photograph with its mesh, no sharper than a picture of `size` pixels can show.

    broad: reckon its light with `broad_normals`.
    """
    row = subject * fit.views + view
    faces = _textured_faces(model)
    mesh = model.vertices(fit.identity[subject : subject + 1], fit.expression[row : row + 1])[0]
    camera = fit.camera[row : row + 1]
    normals = vertex_normals(mesh, faces, model.topology.weld)
    shading = broad_normals(mesh, normals) if broad else normals
    return pose_view(
        model,
        image,
        camera.project(mesh)[0],
        camera.rotate(normals)[0],
        camera.rotate(shading)[0],
        faces,
        face_region(model),
        face_pixels=0.8 * size * _SUPERSAMPLE,
        scale=float(camera.scale),
    )


def _target(
    model: BilinearFaceModel, mesh: Tensor, camera: Camera, side: int, lit: Callable[[Tensor], Tensor]
) -> Target:
    """The picture of a mesh (V, 3), `side` pixels wide; `lit` gives the irradiance for camera-space normals."""
    faces = _textured_faces(model)
    triangle, barycentric, depth = rasterize(camera.project(mesh).contiguous(), faces, side, side)
    turned = camera.rotate(vertex_normals(mesh, faces, model.topology.weld))
    normals = F.normalize(interpolate(triangle, barycentric, faces, turned)[0], dim=-1)
    sight = normals[..., 2].clamp(min=0) * beside_jumps(depth[0], face_width=0.5 * side)
    covered = (triangle[0] >= 0).numpy()
    hollow = np.isin(model.topology.face_parts[_textured(model)], _HOLLOW)[triangle[0].numpy()]
    inner = (normals[..., 2] < 0).numpy()  # the head's far side, through a gap
    return Target(triangle, barycentric, faces, lit(normals), sight, Membrane((hollow | inner) & covered, covered))


def _shrunk(values: Tensor) -> NDArray[np.float32]:
    """(H, W, C) averaged over the samples of each pixel."""
    small = F.avg_pool2d(values.permute(2, 0, 1)[None], _SUPERSAMPLE)[0].permute(1, 2, 0)
    return small.numpy().astype(np.float32)


def _textured_faces(model: BilinearFaceModel) -> Tensor:
    return model.faces[torch.from_numpy(_textured(model))].contiguous()


def _textured(model: BilinearFaceModel) -> NDArray[np.bool_]:
    """(F,): which of the model's triangles the photographs colour."""
    return np.isin(model.topology.face_parts, _FACE_PARTS)


def _mesh_colours(model: BilinearFaceModel, views: list[PosedView], faces: Tensor, there: Tensor) -> Tensor:
    """Colour of every vertex (V, 3): seen, mirrored where not, filled over the mesh where neither."""
    order = torch.from_numpy(model.topology.mirror).long()
    colour = torch.zeros_like(model.albedo_mean)
    weight = torch.zeros(len(colour))
    for mirrored, trust in ((None, 1.0), (order, 0.05)):
        for view in views:
            sampled = vertex_colours(view, mirrored, there)
            w = sampled.weight**2 * trust * view.scale
            colour += sampled.colour * w[:, None]
            weight += w
    colour = colour / weight.clamp(min=1e-9)[:, None]
    confidence = (weight / (0.02 * max(view.scale for view in views))).clamp(max=1.0)
    prior = (model.albedo_mean.clamp(0, 1) ** GAMMA * there).clamp(0, 1) ** (1 / GAMMA)
    return fill_over_mesh(colour, confidence, faces, model.topology.weld, prior)


def _paint(
    model: BilinearFaceModel,
    views: list[PosedView],
    target: Target,
    colours: Tensor,
    use_mirror: bool,
) -> tuple[Tensor, Tensor]:
    """Colour (H, W, 3) and the direct views' weight (H, W) of each target pixel."""
    side = target.triangle.shape[1]
    direct = blend_views([sample_view(view, target) for view in views], [view.scale for view in views], 0.04 * side)
    filled = interpolate(target.triangle, target.barycentric, target.faces, colours[None])[0]
    sigma = 0.012 * side
    if not use_mirror:
        share = _feather(direct.weight, sigma)[..., None]
        return direct.colour * share + filled * (1 - share), direct.weight
    order = torch.from_numpy(model.topology.mirror).long()
    other = blend_views(
        [sample_view(view, target, order) for view in views], [view.scale for view in views], 0.04 * side
    )
    # The photograph's own side counts unless the other one was seen much better: grazing views are stretched.
    preference = (direct.weight / other.weight.clamp(min=1e-3) - _WORSE) / (_AS_GOOD - _WORSE)
    own = _blurred(smooth_step(preference), sigma)[..., None]
    share = _feather(torch.maximum(direct.weight, other.weight), sigma)[..., None]
    photograph = direct.colour * own + other.colour * (1 - own)
    return photograph * share + filled * (1 - share), direct.weight


def _blurred(values: Tensor, sigma: float) -> Tensor:
    """Gaussian blur along the first two axes, (H, W) or (H, W, C)."""
    spread = (sigma, sigma, 0)[: values.ndim]
    return torch.from_numpy(ndimage.gaussian_filter(values.numpy(), spread, mode="nearest"))


def _feather(weight: Tensor, sigma: float) -> Tensor:
    """Share in [0, 1] of a source of given weight: 0 where it does not see, a soft step where it begins to."""
    step = smooth_step((weight - 0.05) / 0.4)
    return torch.minimum(_blurred(step, sigma), step)


def _inner_edge(region: Tensor, width: float) -> Tensor:
    """A share (H, W) that also falls from 1 to 0 over `width` pixels inside the outline of what is not zero."""
    inside = ndimage.distance_transform_edt(np.pad(region.numpy() > 0, 1))[1:-1, 1:-1] / width
    return region * smooth_step(torch.from_numpy(inside.astype(np.float32)))

"""The simulated frontal face (paper 3.2): a fitted face, coloured by its photographs, drawn from the front."""

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
from lssl.face3d.texture import (
    PosedView,
    Sampled,
    blend_views,
    fill_over_mesh,
    match_mirrored_light,
    pose_view,
    sample_view,
    vertex_colours,
    vertex_normals,
)
from lssl.face3d.topology import Part
from lssl.ops import interpolate, rasterize

BACKGROUNDS = ("plain", "original", "blur")
# Parts that a photograph can colour; the model's hair and clothes need not be where the photograph's are, and the
# dark inside of a mouth is drawn only where the photograph shows it.
_FACE_PARTS = tuple(part for part in Part if part not in (Part.HAIR, Part.CLOTHES, Part.LASHES))
_MOUTH_PARTS = (Part.INNER_MOUTH, Part.TEETH, Part.TONGUE)
_PLAIN = 0.5  # grey, encoded
_SUPERSAMPLE = 2


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
        use_mirror: fill what no view saw from the other half of the face.

    What neither side was seen is filled smoothly over the mesh, led by the model's albedo. Raises ValueError for an
    unknown background, a wrong number of images, or a face outside its photograph.
    """
    if background not in BACKGROUNDS:
        raise ValueError(f"background is {background!r}; choose one of {', '.join(BACKGROUNDS)}")
    count = fit.views
    if len(images) != count:
        raise ValueError(f"the fit has {count} views, but {len(images)} images were given")
    rows = range(subject * count, (subject + 1) * count)
    faces = _textured_faces(model)
    weld = model.topology.weld
    face_pixels = 1.6 * size * _SUPERSAMPLE / 2
    views: list[PosedView] = []
    meshes: list[Tensor] = []
    for row, image in zip(rows, images, strict=True):
        vertices = model.vertices(fit.identity[subject : subject + 1], fit.expression[row : row + 1])[0]
        camera = fit.camera[row : row + 1]
        normals = camera.rotate(vertex_normals(vertices, faces, weld))[0]
        views.append(pose_view(image, camera.project(vertices)[0], normals, faces, face_pixels))
        meshes.append(vertices)
    target = model.vertices(
        fit.identity[subject : subject + 1],
        (fit.expression[rows[0]] if expression is None else expression.to(fit.expression))[None],
    )[0]
    neutral = model.vertices(fit.identity[subject : subject + 1], model.expressions["neutral"][None])
    places = neutral[:, torch.from_numpy(model.topology.landmarks).long()]
    camera = portrait_camera(places, size, yaw=yaw, pitch=pitch)
    fine = camera.zoom(_SUPERSAMPLE)
    projected = fine.project(target)
    triangle, barycentric, _ = rasterize(projected.contiguous(), faces, size * _SUPERSAMPLE, size * _SUPERSAMPLE)
    normals = vertex_normals(target, faces, weld)
    pixel_normals = F.normalize(interpolate(triangle, barycentric, faces, normals[None])[0], dim=-1)

    scales = [float(fit.camera.scale[row]) for row in rows]
    colours = _mesh_colours(model, views, scales, faces)
    face, seen = _paint(model, views, scales, triangle, barycentric, faces, pixel_normals, colours, use_mirror)
    covered = (triangle[0] >= 0).float()
    if background == "plain":
        surroundings = torch.full_like(face, _PLAIN)
    else:
        surroundings = _surroundings(images[0], views[0], model, fit, rows[0], fine, meshes[0], projected[0], covered)
        if background == "blur":
            surroundings = torch.from_numpy(
                ndimage.gaussian_filter(surroundings.numpy(), (0.05 * size * _SUPERSAMPLE,) * 2 + (0,), mode="nearest")
            )
    alpha = _soft_edge(covered, 0.012 * size * _SUPERSAMPLE if background != "plain" else 0.0)[..., None]
    picture = face * alpha + surroundings * (1 - alpha)
    shrink = lambda t: F.avg_pool2d(t.permute(2, 0, 1)[None], _SUPERSAMPLE)[0].permute(1, 2, 0).numpy()  # noqa: E731
    landmarks = model.landmarks(camera.project(target))[0, :, :2]
    return FrontalFace(
        image=(shrink(picture).clip(0, 1) * 255).round().astype(np.uint8),
        mask=shrink(covered[..., None])[..., 0],
        seen=shrink(seen[..., None])[..., 0],
        landmarks=landmarks.numpy().astype(np.float32),
        vertices=target,
        vertex_colours=colours,
    )


def _textured_faces(model: BilinearFaceModel) -> Tensor:
    return model.faces[torch.from_numpy(_textured(model))].contiguous()


def _textured(model: BilinearFaceModel) -> NDArray[np.bool_]:
    """(F,): which of the model's triangles the photographs colour."""
    return np.isin(model.topology.face_parts, _FACE_PARTS)


def _mesh_colours(model: BilinearFaceModel, views: list[PosedView], scales: list[float], faces: Tensor) -> Tensor:
    """Colour of every vertex (V, 3): seen, mirrored where not, filled over the mesh where neither."""
    order = torch.from_numpy(model.topology.mirror).long()
    colour = torch.zeros_like(model.albedo_mean)
    weight = torch.zeros(len(colour))
    for mirrored, trust in ((None, 1.0), (order, 0.05)):
        for view, scale in zip(views, scales, strict=True):
            sampled = vertex_colours(view, mirrored)
            w = sampled.weight**2 * trust * scale
            colour += sampled.colour * w[:, None]
            weight += w
    colour = colour / weight.clamp(min=1e-9)[:, None]
    confidence = (weight / (0.02 * max(scales))).clamp(max=1.0)
    return fill_over_mesh(colour, confidence, faces, model.topology.weld, model.albedo_mean)


def _paint(
    model: BilinearFaceModel,
    views: list[PosedView],
    scales: list[float],
    triangle: Tensor,
    barycentric: Tensor,
    faces: Tensor,
    pixel_normals: Tensor,
    colours: Tensor,
    use_mirror: bool,
) -> tuple[Tensor, Tensor]:
    """Colour (H, W, 3) and the direct views' weight (H, W) of each target pixel."""
    smooth = 0.04 * triangle.shape[1]
    mouth = torch.from_numpy(np.isin(model.topology.face_parts[_textured(model)], _MOUTH_PARTS))
    direct = blend_views([sample_view(v, triangle, barycentric, faces, None, mouth) for v in views], scales, smooth)
    filled = interpolate(triangle, barycentric, faces, colours[None])[0]
    # Seams are hidden by a soft hand-over: a pixel belongs to the photograph only well inside what it saw.
    own = _feather(direct.weight, 0.012 * triangle.shape[1])
    if not use_mirror:
        return direct.colour * own[..., None] + filled * (1 - own)[..., None], direct.weight
    order = torch.from_numpy(model.topology.mirror).long()
    other = blend_views([sample_view(v, triangle, barycentric, faces, order, mouth) for v in views], scales, smooth)
    other = Sampled(match_mirrored_light(direct, other, pixel_normals), other.weight)
    share = _feather(other.weight, 0.012 * triangle.shape[1])[..., None]
    unseen = other.colour * share + filled * (1 - share)
    return direct.colour * own[..., None] + unseen * (1 - own)[..., None], direct.weight


def _feather(weight: Tensor, sigma: float) -> Tensor:
    """Share in [0, 1] of a source of given weight: 0 where it does not see, a soft step where it begins to."""
    t = ((weight - 0.05) / 0.4).clamp(0, 1).numpy()
    soft = ndimage.gaussian_filter(t * t * (3 - 2 * t), sigma, mode="nearest")
    return torch.from_numpy(np.minimum(soft, t * t * (3 - 2 * t) * 1.0).astype(np.float32))


def _soft_edge(covered: Tensor, width: float) -> Tensor:
    """Coverage that falls from 1 to 0 over `width` pixels inside the face's outline."""
    if width <= 0:
        return covered
    inside = ndimage.distance_transform_edt(np.pad(covered.numpy() > 0, 1))[1:-1, 1:-1] / width
    t = np.clip(inside, 0, 1)
    return torch.from_numpy((t * t * (3 - 2 * t)).astype(np.float32))


def _surroundings(
    image: NDArray[np.uint8],
    view: PosedView,
    model: BilinearFaceModel,
    fit: FaceFit,
    row: int,
    fine: Camera,
    mesh: Tensor,
    projected: Tensor,
    covered: Tensor,
) -> Tensor:
    """The photograph round the face, bent so that it meets the drawn face's outline (after Zhu et al. 2015, section 3).

    Outside the face a pixel looks up the photograph where the similarity between the two views puts it, plus an offset
    that is the face's own along its outline and fades away from it (harmonically, by repeated smoothing).
    """
    size = covered.shape[0]
    source = fit.camera[row : row + 1]
    indices = fit.indices[row]
    photo = fit.landmarks[row].numpy().astype(np.float64)
    drawn = projected[indices, :2].numpy().astype(np.float64)
    a, b = drawn - drawn.mean(0), photo - photo.mean(0)
    power = (a**2).sum()
    c, s = (a * b).sum() / power, (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / power
    matrix = np.array([[c, -s], [s, c]])
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).astype(np.float64)
    base = (grid - drawn.mean(0)) @ matrix.T + photo.mean(0)
    # Where the drawn face's own pixels came from in the photograph.
    faces = _textured_faces(model)
    triangle, barycentric, _ = rasterize(projected[None].contiguous(), faces, size, size)
    origin = interpolate(triangle, barycentric, faces, source.project(mesh)[..., :2].contiguous())[0].numpy()
    known = covered.numpy() > 0
    outline = known & ~ndimage.binary_erosion(known, iterations=3)
    nearest = ndimage.distance_transform_edt(~outline, return_distances=True, return_indices=True)
    distance, index = nearest
    offset = (origin - base)[index[0], index[1]]
    sigma = 0.05 * size
    offset = np.stack([ndimage.gaussian_filter(offset[..., k], sigma, mode="nearest") for k in range(2)], -1)
    offset *= np.exp(-distance / (0.35 * size))[..., None]
    place = base + offset
    h, w = image.shape[:2]
    photograph = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
    # Shrink first, so that a large photograph is not undersampled.
    step = max(1.0, float(np.sqrt(abs(np.linalg.det(matrix)))))
    if step > 1.5:
        smaller = (max(2, round(h / step)), max(2, round(w / step)))
        photograph = F.interpolate(photograph, size=smaller, mode="bilinear", antialias=True, align_corners=False)
    where = torch.from_numpy(place).float()
    look = torch.stack([(where[..., 0] + 0.5) * 2 / w - 1, (where[..., 1] + 0.5) * 2 / h - 1], -1)[None]
    return F.grid_sample(photograph, look, mode="bilinear", padding_mode="border", align_corners=False)[0].permute(
        1, 2, 0
    )

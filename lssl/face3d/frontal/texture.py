"""Colour for a fitted face from all its photographs (paper 3.2): which of them show a point, how well, and what to do
where none does.

Everything happens in the pixels of the picture to be drawn: each of them is a point of the mesh, and each photograph
is sampled where its camera projects that point. So no texture atlas limits the resolution or has seams.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import splu
from scipy.spatial import ConvexHull
from skimage.draw import polygon2mask
from torch import Tensor
from torch.nn import functional as F

from lssl.errors import LsslError
from lssl.face3d.frontal.covering import HeadColours, head_colours
from lssl.face3d.frontal.membrane import Membrane
from lssl.face3d.frontal.relight import estimate_light, even_irradiance, irradiance, relighting_gain
from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.face3d.model.topology import Part
from lssl.ops import interpolate, rasterize

# A border of this many face widths inside a photograph's silhouette is not trusted: fits are never that exact, and
# what lies beyond is background. The wider one is for scalp, neck and ears, which no landmark fixes.
_BORDER, _LOOSE_BORDER = 0.035, 0.12
_NEAR_FEATURES = 0.14  # face widths around brows, eyes and nose within which what looks like hair covers the face
_JUMP = 0.6  # centimetres of depth between neighbours from which on one occludes the other
_SLACK = 0.1  # of sight: below this, a photograph need not show a point better than the target does
_LOG_FLOOR = 0.02
_GRAZING, _FACING = 0.1, 0.9  # cosines of the viewing angle between which a view's weight rises from 0 to 1


@dataclass(frozen=True)
class PosedView:
    """A photograph cut around the fitted face, with what the mesh looks like in it.

    image (1, 3, h, w) in [0, 1]; projected (V, 3): pixel x, y, depth of each vertex in that image; normals (V, 3) in
    camera space; shading (V, 3): the normals used for light; depth (h, w): the mesh's nearest depth. border
    (1, 4, h, w), in [0, 1]: rising from 0 at the silhouette and on background to 1 well inside; the same at depth
    jumps; the first, with what covers the face counted as face; and how surely that cover is hair. light (9, 3): the
    irradiance coefficients of its light (see relight.py); even (3,): irradiance of the same strength without direction;
    scale: pixels per centimetre in the photograph; usual: the colours of its skin and hair.
    """

    image: Tensor
    projected: Tensor
    normals: Tensor
    shading: Tensor
    depth: Tensor
    border: Tensor
    light: Tensor
    even: Tensor
    scale: float
    usual: HeadColours


@dataclass(frozen=True)
class Target:
    """The picture to be drawn: each pixel's point of the mesh, the light on it, and how well the picture shows it.

    triangle (1, H, W), barycentric (1, H, W, 3) of the mesh with triangles faces (F, 3). irradiance (H, W, 3), linear.
    sight (H, W): the cosine of the viewing angle, less next to depth jumps. holes: pixels where the surface is open, at
    the mouth and beside the eyes: people differ inside them, so they show what the photograph has between their edges.
    """

    triangle: Tensor
    barycentric: Tensor
    faces: Tensor
    irradiance: Tensor
    sight: Tensor
    holes: Membrane


@dataclass(frozen=True)
class Sampled:
    """Colour (H, W, 3) in [0, 1] and weight (H, W), 0 where the view does not show the target pixel's surface point, or
    shows it badly; hair (H, W): how surely it shows hair there, however well it shows it."""

    colour: Tensor
    weight: Tensor
    hair: Tensor


def pose_view(
    model: BilinearFaceModel,
    image: NDArray[np.uint8],
    projected: Tensor,
    normals: Tensor,
    shading: Tensor,
    faces: Tensor,
    held: Tensor,
    face_pixels: float,
    scale: float,
) -> PosedView:
    """Crops `image` (H, W, 3) to the mesh and shrinks it (never enlarges it) until the face is `face_pixels` wide.

    projected, normals and shading (V, 3) are the fitted mesh in the photograph; faces (F, 3): only the triangles that
    occlude (the model's hair need not be where the photograph's is). held (V,): see `face_region`. scale: pixels per
    centimetre. Raises LsslError if the mesh lies outside the photograph.
    """
    used = projected[faces.long().unique()]
    low, high = used[:, :2].amin(0), used[:, :2].amax(0)
    width = float(high[0] - low[0])
    factor = min(1.0, face_pixels / max(width, 1.0))
    margin = 0.15 * width
    height_px, width_px = image.shape[:2]
    x0, y0 = (int(max(0, np.floor(float(v) - margin))) for v in low)
    x1 = int(min(width_px, np.ceil(float(high[0]) + margin) + 1))
    y1 = int(min(height_px, np.ceil(float(high[1]) + margin) + 1))
    if x1 - x0 < 2 or y1 - y0 < 2:
        raise LsslError(f"the fitted face lies outside the {width_px} x {height_px} photograph")
    h, w = max(2, round((y1 - y0) * factor)), max(2, round((x1 - x0) * factor))
    cut = _shrunk(image[y0:y1, x0:x1], h, w)
    sx, sy = w / (x1 - x0), h / (y1 - y0)
    moved = projected.clone()
    moved[:, 0] = (projected[:, 0] - x0 + 0.5) * sx - 0.5
    moved[:, 1] = (projected[:, 1] - y0 + 0.5) * sy - 0.5
    triangle, barycentric, depth = rasterize(moved[None], faces, h, w)
    depth = depth[0]
    ears = torch.from_numpy(model.topology.vertex_parts == Part.EARS).float()
    values = interpolate(triangle, barycentric, faces, torch.stack([held, ears], -1)[None])[0].numpy()
    reach = (_LOOSE_BORDER + (_BORDER - _LOOSE_BORDER) * values[..., 0]) * width * factor
    silhouette = _distance_inside((triangle[0] >= 0).numpy() & (values[..., 1] < 0.5)) / np.maximum(reach, 1.0)
    inside = smooth_step(torch.from_numpy(silhouette).float())
    usual = _usual_colours(model, cut, moved, normals, depth, held)
    face = _not_background(cut[0], triangle[0] >= 0, inside > 0.99, width * factor)
    marks = moved[model.topology.landmarks]
    features = _features(marks, h, w)
    near = torch.from_numpy(ndimage.distance_transform_edt(features.numpy() == 0) < _NEAR_FEATURES * width * factor)
    hair = usual.hairlike(cut[0].permute(1, 2, 0)) * near
    covered = torch.maximum(face, features)
    border = torch.stack([inside * face, beside_jumps(depth, width * factor), inside * covered, hair])
    dark = torch.zeros(9, 3)
    view = PosedView(cut, moved, normals, shading, depth, border[None], dark, dark[0], scale, usual)
    sampled = vertex_colours(view)
    light = estimate_light(model, sampled.colour, shading, sampled.weight)
    return replace(view, light=light, even=even_irradiance(light, shading, sampled.weight))


def _shrunk(image: NDArray[np.uint8], h: int, w: int) -> Tensor:
    """An image (H, W, 3) as (1, 3, h, w) floats, 0 to 1; in floats only one colour at a time, for huge photographs."""
    colours = []
    for k in range(3):
        plane = torch.from_numpy(np.array(image[..., k]))[None, None].float().div_(255)
        if plane.shape[2:] != (h, w):
            plane = F.interpolate(plane, size=(h, w), mode="bilinear", antialias=True, align_corners=False)
        colours.append(plane)
    return torch.cat(colours, 1)


def _usual_colours(
    model: BilinearFaceModel, image: Tensor, projected: Tensor, normals: Tensor, depth: Tensor, held: Tensor
) -> HeadColours:
    """The usual colours of skin and hair in an image (1, 3, h, w), where projected (V, 3) are the mesh's vertices."""
    h, w = depth.shape
    x, y, z = projected.unbind(-1)
    inside = (x > -0.5) & (x < w - 0.5) & (y > -0.5) & (y < h - 0.5)
    column, row = x.round().long().clamp(0, w - 1), y.round().long().clamp(0, h - 1)
    seen = inside & (z <= depth[row, column] + 0.35)
    colours = _look_up(image, x[None], y[None], "bilinear")[0]
    return head_colours(model, colours, normals[:, 2], seen, held, -y)


def _features(marks: Tensor, height: int, width: int) -> Tensor:
    """(h, w): 1 on brows, eyes and nose, by landmarks (68, 3): whatever is there, it is not background."""
    points = marks[17:48, :2].double().numpy()
    hull = points[ConvexHull(points).vertices]
    return torch.from_numpy(polygon2mask((height, width), hull[:, ::-1]).astype(np.float32))


def _not_background(image: Tensor, mesh: Tensor, certain: Tensor, face_width: float) -> Tensor:
    """(h, w): 0 where a pixel of the mesh near its outline looks like the outside rather than like the face.

    image (3, h, w); mesh, certain (h, w) bool: all of the mesh's pixels, and those well inside. A fitted neck or jaw
    that is wider than the person's covers some background.
    """
    if mesh.all() or not certain.any():
        return torch.ones_like(image[0])
    sigma = 0.1 * face_width
    weight = (~mesh).float().numpy()
    total = ndimage.gaussian_filter(weight, sigma, mode="nearest")
    around = [ndimage.gaussian_filter(c.numpy() * weight, sigma, mode="nearest") / (total + 1e-6) for c in image]
    from_outside = (image - torch.from_numpy(np.stack(around))).norm(dim=0)
    from_face = (image - image[:, certain].median(-1).values[:, None, None]).norm(dim=0)
    return torch.where(torch.from_numpy(total) > 0.02, belongs(from_outside, from_face), 1.0)


def belongs(from_outside: Tensor, from_inside: Tensor) -> Tensor:
    """1 where a colour belongs inside, 0 where outside, by its distances from colours of both (in units of white)."""
    return smooth_step((from_outside / (from_inside + 0.02) - 0.35) / 0.3)


def smooth_step(t: Tensor) -> Tensor:
    """0 up to t = 0, 1 from t = 1 on, and smooth between."""
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)


def beside_jumps(depth: Tensor, face_width: float) -> Tensor:
    """(h, w): 0 where a depth map (h, w) jumps by more than `_JUMP`, rising to 1 at `_BORDER` face widths away.

    face_width: in pixels.
    """
    values = torch.where(torch.isfinite(depth), depth, 1e3).numpy()
    jump = np.zeros(values.shape, bool)
    dx, dy = np.abs(np.diff(values, axis=1)) > _JUMP, np.abs(np.diff(values, axis=0)) > _JUMP
    jump[:, 1:] |= dx
    jump[:, :-1] |= dx
    jump[1:] |= dy
    jump[:-1] |= dy
    if not jump.any():
        return torch.ones_like(depth)
    distance = ndimage.distance_transform_edt(~jump) / max(_BORDER * face_width, 1.0)
    return smooth_step(torch.from_numpy(distance.astype(np.float32)))


def _distance_inside(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance in pixels (h, w) to the nearest pixel that is not inside; none is inside beyond the frame."""
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    return distance


def sample_view(view: PosedView, target: Target, order: Tensor | None = None) -> Sampled:
    """The photograph's colour at each target pixel, in the target's light.

    order (V,): the vertex to look up in place of each one (the mirror map, to look at the other half of the face); None
    for itself. The weight compares how well the photograph shows a point with how well the target does: a lip's edge
    that is narrow in both is shown well enough, a cheek that the photograph has at a grazing angle is not.
    """
    attributes = torch.cat([view.projected, view.normals, view.shading], 1)
    if order is not None:
        attributes = attributes[order]
    values = interpolate(target.triangle, target.barycentric, target.faces, attributes[None])[0]
    x, y, z = values[..., 0], values[..., 1], values[..., 2]
    normals, shading = F.normalize(values[..., 3:6], dim=-1), F.normalize(values[..., 6:], dim=-1)
    h, w = view.depth.shape
    column, row = x.round().long().clamp(0, w - 1), y.round().long().clamp(0, h - 1)
    # One sample of a depth buffer is off by the surface's slope times half a pixel.
    seen = (z <= view.depth[row, column] + 0.35) & (target.triangle[0] >= 0)
    sight = normals[..., 2].clamp(min=0) * _look_up(view.border, x, y, "bilinear")[..., 1]
    weight = smooth_step((sight + _SLACK) / (target.sight + _SLACK))
    gain = relighting_gain(irradiance(view.light, shading), target.irradiance)
    filled = target.holes.fill(torch.cat([torch.stack([x, y, weight, seen.float()], -1), gain], -1))
    x, y, weight, shown, gain = filled[..., 0], filled[..., 1], filled[..., 2], filled[..., 3], filled[..., 4:]
    found = _look_up(view.image, x, y, "bicubic").clamp(0, 1)
    border = _look_up(view.border, x, y, "bilinear")
    hair = border[..., 3] * shown * smooth_step((normals[..., 2] - _GRAZING) / _GRAZING)
    return Sampled((found * gain).clamp(0, 1), weight * shown * border[..., 2], hair)


def _look_up(picture: Tensor, x: Tensor, y: Tensor, mode: str) -> Tensor:
    """Values (H, W, C) of a picture (1, C, h, w) at pixels x, y (H, W); outside, its border is repeated."""
    h, w = picture.shape[2:]
    grid = torch.stack([(x + 0.5) * 2 / w - 1, (y + 0.5) * 2 / h - 1], -1)[None]
    return F.grid_sample(picture, grid, mode=mode, padding_mode="border", align_corners=False)[0].permute(1, 2, 0)


def blend_views(views: list[Sampled], scales: list[float], smooth: float) -> Sampled:
    """One picture from several: broad colour changes are blended softly, detail comes from the view that shows it best.

    scales: pixels per centimetre in each view (a sharper photograph counts more). smooth: the standard deviation that
    separates broad from fine, in target pixels (Burt & Adelson 1983, two bands).
    """
    if len(views) == 1:
        return views[0]
    gain = torch.tensor(scales, dtype=torch.float32)
    gain = (gain / gain.max()).square()
    weights = torch.stack([view.weight * g for view, g in zip(views, gain, strict=True)])
    colours = torch.stack([view.colour for view in views])
    low = torch.stack([smooth_colour(c, w, smooth) for c, w in zip(colours, weights, strict=True)])
    total = weights.sum(0).clamp(min=1e-6)
    best = weights**4
    best = best / best.sum(0).clamp(min=1e-12)
    broad = (low * (weights / total)[..., None]).sum(0)
    fine = ((colours - low) * best[..., None]).sum(0)
    hair = (torch.stack([view.hair for view in views]) * weights).sum(0) / total
    return Sampled((broad + fine).clamp(0, 1), torch.stack([v.weight for v in views]).amax(0), hair)


def smooth_colour(colour: Tensor, weight: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of colour (H, W, 3) in which pixels count by weight (H, W); sigma in pixels."""
    w = weight.numpy()
    total = ndimage.gaussian_filter(w, sigma, mode="nearest") + 1e-6
    blurred = [ndimage.gaussian_filter(colour[..., i].numpy() * w, sigma, mode="nearest") / total for i in range(3)]
    return torch.from_numpy(np.stack(blurred, -1))


def fill_over_mesh(colours: Tensor, weights: Tensor, faces: Tensor, weld: NDArray[np.int32], prior: Tensor) -> Tensor:
    """Vertex colours (V, 3): known ones are kept, and the others are interpolated smoothly over the mesh.

    colours (V, 3) with confidence weights (V,) in [0, 1]; prior (V, 3): the model's colours, whose *ratios* between
    neighbours the filled region follows (a guided, Poisson-like fill of the logarithm: unseen lips stay lips, and hair
    that reaches the border continues as hair). weld (V,): see `FaceTopology`.
    """
    v = len(colours)
    corners = weld[faces.numpy()].astype(np.int64)
    i = np.concatenate([corners[:, 0], corners[:, 1], corners[:, 2]])
    j = np.concatenate([corners[:, 1], corners[:, 2], corners[:, 0]])
    graph = sparse.coo_matrix((np.ones(len(i)), (i, j)), shape=(v, v)).tocsr()
    graph = ((graph + graph.T) > 0).astype(np.float64)
    laplacian = sparse.diags(np.asarray(graph.sum(1)).ravel()) - graph
    guide = np.log(prior.numpy().astype(np.float64) + _LOG_FLOOR)
    change = np.log(colours.numpy().astype(np.float64) + _LOG_FLOOR) - guide
    # Welded copies pass their data to the vertex that represents them.
    w = np.zeros(v)
    c = np.zeros((v, 3))
    np.add.at(w, weld, weights.numpy())
    np.add.at(c, weld, change * weights.numpy()[:, None])
    known = w > 1e-3
    strength = np.where(known, 50.0 * np.minimum(w, 1), 1e-4)[:, None]
    target = np.where(known[:, None], c / np.maximum(w, 1e-6)[:, None], 0)
    if known.any():  # ears, which are not connected to the face, get its median change
        target[~known] = np.median(target[known], axis=0)
    solved = splu((laplacian + sparse.diags(strength[:, 0])).tocsc()).solve(strength * target)
    filled = np.exp((solved + guide)[weld]) - _LOG_FLOOR
    return torch.from_numpy(filled.clip(0, 1).astype(np.float32))


def vertex_colours(view: PosedView, order: Tensor | None = None, there: Tensor | None = None) -> Sampled:
    """A photograph's colour (V, 3) and weight (V,) at each vertex.

    order: as in `sample_view`. there (V, 3): the irradiance to relight to; None keeps the photograph's light.
    """
    projected, normals, shading = (
        values if order is None else values[order] for values in (view.projected, view.normals, view.shading)
    )
    h, w = view.depth.shape
    x, y, z = projected.unbind(-1)
    colour = _look_up(view.image, x[None], y[None], "bilinear")[0]
    border = _look_up(view.border, x[None], y[None], "bilinear")[0, :, :2].prod(-1)
    column, row = x.round().long().clamp(0, w - 1), y.round().long().clamp(0, h - 1)
    seen = z <= view.depth[row, column] + 0.35
    angle = ((normals[:, 2] - _GRAZING) / (_FACING - _GRAZING)).clamp(0, 1)
    if there is not None:
        colour = (colour * relighting_gain(irradiance(view.light, shading), there)).clamp(0, 1)
    return Sampled(colour, seen * border * angle, torch.zeros_like(angle))

"""The light on a fitted face, as spherical harmonics, and what it would be in another pose (paper 3.2's frontal face
is the same person in the same light).

A convex matt surface shows little more of a distant light than its first nine spherical harmonics (Ramamoorthi and
Hanrahan 2001), so the ratio of two such irradiances relights a photograph without its albedo being known (Wen, Liu and
Huang 2003, Face relighting with radiance environment maps).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.draw import polygon
from torch import Tensor
from torch.nn import functional as F

from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.face3d.model.topology import Part
from lssl.face3d.scene.lighting import harmonic_basis
from lssl.face3d.scene.render import GAMMA

_LIT_PARTS = (Part.SKIN, Part.NOSE)
# Standard deviations of the coefficients of order 1 and 2, as shares of the constant one.
_PRIOR = (0.6,) * 3 + (0.3,) * 5
_COMMON = 0.2  # weight of the light's shape common to all channels, where a photograph shows each channel's
_BLACK, _WHITE = 0.06, 0.97  # encoded: if darker or brighter, a channel tells nothing about the light's shape
_GAIN = 2.5  # the most that relighting brightens or darkens, linear
_LUMINANCE = (0.2126, 0.7152, 0.0722)  # of linear red, green and blue (Rec. 709)
# The greatest factors by which a channel's light over the face, and its gain, depart from the luminance's: a channel
# that the light hardly has, or that is overexposed, tells nothing about the light's shape.
_TINGE, _RETINGE = 1.2, 1.12
_BRIGHTEST = 0.65  # encoded, of a well-exposed face
_EXPOSURE_GAIN = 3.0  # at most, encoded: noise grows with it
_DARKEST = 0.15  # of the mean irradiance: even what no light reaches is visible


def estimate_light(model: BilinearFaceModel, colours: Tensor, normals: Tensor, weights: Tensor) -> Tensor:
    """Irradiance coefficients (9, 3) of the light on a face, in the order of `harmonic_basis`.

    colours (V, 3): the photograph's at each vertex, encoded, 0 to 1. normals (V, 3): unit, camera space. weights (V,):
    0 where a vertex is not seen. The albedo is taken to be the model's mean; whatever differs from it (hair, beard,
    spectacles, cast shadows) loses its weight by Tukey's biweight. From the product of light and albedo only the
    light's variation over the face can be known; its mean is set so that the mean albedo is the model's.
    """
    parts = torch.from_numpy(np.isin(model.topology.vertex_parts, [part.value for part in _LIT_PARTS]))
    use = parts & (weights > 0.05)
    if int(use.sum()) < 100:
        return _constant(torch.ones(3))
    basis = harmonic_basis(normals[use].double())
    basis = basis / basis[0, 0]  # the constant's coefficient is the mean
    linear = colours[use].double().clamp(min=0.004) ** GAMMA
    apparent = linear / model.albedo_mean[use].double().clamp(min=0.05) ** GAMMA
    level = apparent.median(0).values.clamp(min=1e-4)
    ratio = apparent / level
    weight = weights[use].double()
    share = torch.cat([torch.zeros(1), 1 / torch.tensor(_PRIOR).square()]).double()
    ridge = torch.diag(share) * 0.02 * weight.sum()
    trust = torch.ones(len(ratio), dtype=torch.float64)
    light = torch.zeros(9, 3, dtype=torch.float64)
    for _ in range(6):
        w = (weight * trust)[:, None]
        light = torch.linalg.solve(basis.T @ (w * basis) + ridge, basis.T @ (w * ratio))
        residual = (ratio - basis @ light).mean(1)
        spread = 1.4826 * residual.abs().median().clamp(min=0.02)
        trust = (1 - (residual / (4.0 * spread)).square()).clamp(min=0).square()
    # Shadows on skin are redder than lit skin, under any lamp; but a channel that is black or overexposed does not show
    # that, and takes the shape of those that do.
    told = _told(colours[use].double(), weight)
    heed = light.new_tensor(_LUMINANCE) * (told + 1e-3)
    shape = light @ (heed / heed.sum())
    common = 1 - (1 - _COMMON) * told
    return ((common * shape[:, None] + (1 - common) * light) * level).float()


def _told(colours: Tensor, weights: Tensor) -> Tensor:
    """(3,): how far each channel is to be believed, by the share of colours (N, 3), weighted (N,), in which it is
    neither black nor overexposed: 0 for a half or less, 1 for nearly all."""
    within = ((colours > _BLACK) & (colours < _WHITE)).to(weights)
    share = (within * weights[:, None]).sum(0) / weights.sum().clamp(min=1e-6)
    return ((share - 0.5) / 0.4).clamp(0, 1)


def irradiance(light: Tensor, normals: Tensor) -> Tensor:
    """Linear irradiance (..., 3) for unit normals (..., 3) in camera space under a light (9, 3); always positive, and
    everywhere close to the light's mean colour."""
    basis = harmonic_basis(normals)
    usual = light[0].clamp(min=1e-6)
    shares = (basis / basis.new_tensor(0.5 / np.sqrt(np.pi)) @ (light / usual)).clamp(min=_DARKEST)
    strength = (shares @ shares.new_tensor(_LUMINANCE))[..., None]
    return usual * strength * (shares / strength).clamp(1 / _TINGE, _TINGE)


def relighting_gain(here: Tensor, there: Tensor) -> Tensor:
    """The factor by which encoded colours under irradiance `here` become those under `there`, both linear (..., 3):
    more or less light, of nearly the same colour."""
    weights = here.new_tensor(_LUMINANCE)
    ratio = there / here.clamp(min=1e-4)
    luminance = ((there @ weights) / (here @ weights).clamp(min=1e-4))[..., None]
    tinge = (ratio / luminance.clamp(min=1e-4)).clamp(1 / _RETINGE, _RETINGE)
    return (luminance.clamp(1 / _GAIN, _GAIN) * tinge) ** (1 / GAMMA)


def even_irradiance(light: Tensor, normals: Tensor, weights: Tensor) -> Tensor:
    """The mean irradiance (3,) on the visible points, with weights (V,) and camera-space normals (V, 3): light without
    direction under which a face stays as bright and as warm as it was."""
    values = irradiance(light, normals) * weights[:, None]
    return values.sum(0) / weights.sum().clamp(min=1e-6)


def broad_normals(vertices: Tensor, normals: Tensor) -> Tensor:
    """Normals (V, 3) of a head with half its relief, from vertices (V, 3) in head space.

    Removing the light with a fitted nose that is not quite the person's would draw that nose.
    """
    return F.normalize(normals + F.normalize(vertices * vertices.new_tensor([1.0, 0.6, 1.0]), dim=-1), dim=-1)


def well_exposed(image: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> NDArray[np.uint8]:
    """A photograph (H, W, 3), brightened if its face, with landmarks (68, 2), was taken in too little light.

    The brightest spots of a face (highlights, the whites of the eyes, teeth) are as bright on dark skin as on fair, so
    they tell the exposure rather than the skin. A photograph is never darkened.
    """
    outline = np.concatenate([landmarks[:17], landmarks[26:16:-1]])  # jaw and brows
    rows, columns = polygon(outline[:, 1], outline[:, 0], image.shape[:2])
    if len(rows) == 0:
        return image
    brightest = float(np.percentile(image[rows, columns] @ np.array([0.299, 0.587, 0.114]), 99.5)) / 255
    gain = min(max(_BRIGHTEST / max(brightest, 1e-3), 1.0), _EXPOSURE_GAIN)
    # No channel of a tinted photograph is driven into saturation, or its hue would change.
    gain = max(min(gain, 255 / max(float(np.percentile(image[rows, columns].max(-1), 98)), 1.0)), 1.0)
    if gain == 1.0:
        return image
    brightened = image * np.float32(gain)
    over = np.maximum(brightened.max(-1, keepdims=True) / 255, 1.0)  # pixels that are too bright keep their hue
    return (brightened / over).round().astype(np.uint8)


def _constant(level: Tensor) -> Tensor:
    return torch.cat([level[None], torch.zeros(8, 3)])

"""What is round a frontal face: the photograph's hair, ears, neck and background, bent to meet the drawn face."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from lssl.face3d.bilinear import BilinearFaceModel
from lssl.face3d.topology import EYEBALL_PARTS, Part

_WITHIN = (Part.SKIN, Part.NOSE, Part.BROWS, Part.LIPS, Part.INNER_MOUTH, Part.TEETH, Part.TONGUE, *EYEBALL_PARTS)
# Where the face ends: heights above the brows, in distances from the brows down to the nose, and centimetres behind
# the first jaw landmark; from certain to beyond.
_FOREHEAD = (0.5, 0.8)
_TEMPLE = (0.5, 2.0)


def face_region(model: BilinearFaceModel) -> Tensor:
    """(V,) in [0, 1]: 1 on the face that landmarks hold in place, 0 on ears, neck and scalp, a slope between."""
    mean = model.mean_face().cpu().numpy()
    points = mean[model.topology.landmarks]
    brows, nose = points[17:27, 1].mean(), points[33, 1]
    height = (mean[:, 1] - brows) / (brows - nose)
    behind = points[[0, 16], 2].mean() - mean[:, 2]
    inside = np.isin(model.topology.vertex_parts, _WITHIN)
    share = inside * _falling(height, *_FOREHEAD) * _falling(behind, *_TEMPLE)
    return torch.from_numpy(share.astype(np.float32))


def _falling(values: NDArray[np.floating], start: float, end: float) -> NDArray[np.floating]:
    t = np.clip((end - values) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def surroundings(
    image: NDArray[np.uint8],
    photo: NDArray[np.float64],
    drawn: NDArray[np.float64],
    origin: NDArray[np.floating],
    face: NDArray[np.bool_],
) -> Tensor:
    """The photograph (H, W, 3) as seen round the drawn face, (size, size, 3) in [0, 1] (after Zhu et al. 2015, 3.3).

    photo, drawn (68, 2): landmarks in the photograph and as drawn. origin (size, size, 2): where each pixel of the face
    came from in the photograph. face (size, size): those pixels.
    Elsewhere a pixel looks up the photograph where the similarity between the two sets of landmarks puts it, plus an
    offset that is the face's own along its outline and fades away from it.
    """
    size = face.shape[0]
    matrix, shift = _similarity(drawn, photo)
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).astype(np.float64)
    base = grid @ matrix.T + shift
    outline = face & ~ndimage.binary_erosion(face, iterations=3)
    distance, index = ndimage.distance_transform_edt(~outline, return_distances=True, return_indices=True)
    offset = (origin - base)[index[0], index[1]]
    sigma = 0.05 * size
    offset = np.stack([ndimage.gaussian_filter(offset[..., k], sigma, mode="nearest") for k in range(2)], -1)
    offset *= np.exp(-distance / (0.35 * size))[..., None]
    return _look_up(image, base + offset, float(np.sqrt(abs(np.linalg.det(matrix)))))


def _similarity(
    source: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """matrix (2, 2) and shift (2,) with source @ matrix.T + shift nearest to target, both (K, 2)."""
    a, b = source - source.mean(0), target - target.mean(0)
    power = (a**2).sum()
    c, s = (a * b).sum() / power, (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / power
    matrix = np.array([[c, -s], [s, c]])
    return matrix, target.mean(0) - source.mean(0) @ matrix.T


def _look_up(image: NDArray[np.uint8], places: NDArray[np.float64], step: float) -> Tensor:
    """The photograph at places (H, W, 2), which lie `step` pixels apart; outside, its mirror image."""
    sides = np.array([image.shape[1], image.shape[0]])
    low = np.clip(np.floor(places.min((0, 1))) - 4 * step, 0, sides - 2).astype(int)
    high = np.clip(np.ceil(places.max((0, 1))) + 4 * step, low + 2, sides).astype(int)
    piece = np.array(image[low[1] : high[1], low[0] : high[0]])
    photograph = torch.from_numpy(piece).permute(2, 0, 1)[None].float() / 255
    h, w = piece.shape[:2]
    if step > 1.5:  # shrink first, so that no pixel is skipped
        smaller = (max(2, round(h / step)), max(2, round(w / step)))
        photograph = F.interpolate(photograph, size=smaller, mode="bilinear", antialias=True, align_corners=False)
    look = torch.from_numpy((places - low + 0.5) * 2 / (w, h) - 1).float()[None]
    found = F.grid_sample(photograph, look, mode="bilinear", padding_mode="reflection", align_corners=False)
    return found[0].permute(1, 2, 0)

"""The part of a head whose position landmarks determine: the face."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.face3d.model.topology import EYEBALL_PARTS, Part

_WITHIN = (Part.SKIN, Part.NOSE, Part.BROWS, Part.LIPS, Part.INNER_MOUTH, Part.TEETH, Part.TONGUE, *EYEBALL_PARTS)
# Where the face ends: heights above the brows, in distances from the brows down to the nose, and centimetres behind
# the first jaw landmark; certainly face up to the first number, not face beyond the second.
_FOREHEAD = (0.5, 0.8)
_TEMPLE = (0.5, 2.0)


def face_region(model: BilinearFaceModel) -> Tensor:
    """(V,) in [0, 1]: 1 on the face, which landmarks determine, 0 on ears, neck and scalp, and a slope between."""
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

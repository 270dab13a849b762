"""The built-in model `ict`: a part of ICT-FaceKit, with real smiles.

ICT Face Model Light (Li et al. 2020, Learning Formation of Physically-Based Face Attributes), copyright 2020 USC
Institute for Creative Technologies, MIT licence (`data/ict-facekit-LICENSE.txt`): 12 of its 100 identity shapes, 26 of
its 53 expression shapes, and the eight expressions composed of them by `importers.ict`. Changes made here: eye
occlusion, tears and lashes are left out, numbers have half precision, and there is one more shape, which makes "happy"
the smile of real people: its landmarks move as in the median of 47 open smiles of the Face Research Lab London Set
(DeBruine and Jones 2017, https://doi.org/10.6084/m9.figshare.5047666.v5, CC BY 4.0), each relative to the same person's
neutral face.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.face3d.model.topology import EYEBALL_PARTS, Part

PATH = Path(__file__).parent / "data" / "ict.npz"

# Movement right and down, in distances between the eyes' centres: lids (36 to 41), outer lips of the picture's left
# half (48 to 51, 57 to 59), inner lips (60 to 62, 66, 67). The other half mirrors it.
_SMILE = {
    36: (0.003, -0.002), 37: (0.002, 0.008), 38: (0.000, 0.009), 39: (-0.004, 0.004), 40: (-0.004, -0.007),
    41: (0.003, -0.012), 48: (-0.088, -0.090), 49: (-0.060, -0.058), 50: (-0.024, -0.029), 51: (0.000, -0.038),
    57: (0.000, 0.063), 58: (-0.028, 0.062), 59: (-0.066, 0.016), 60: (-0.091, -0.073), 61: (-0.022, -0.059),
    62: (0.000, -0.055), 66: (0.000, 0.077), 67: (-0.026, 0.074),
}  # fmt: skip
# Four in ten people keep their lips nearly closed when they smile, so the lower lip goes down only this far.
_LOWER_LIP = 0.8
_LOWER = (57, 58, 66, 67)
_RIDGE = 0.15
_REACH = (1.0, 4.0)  # centimetres from the landmarks of lids and lips, over which the shape fades out
_STD = 0.02  # of the added shape's weight: so small that fits to landmarks leave it alone


@lru_cache(maxsize=1)
def load_ict_model() -> BilinearFaceModel:
    """The built-in model `ict`, read once per process."""
    return BilinearFaceModel.load(PATH)


def reduce_ict(model: BilinearFaceModel) -> BilinearFaceModel:
    """The content of `ict.npz`, made from what `import_ict` returns for the shapes named above:
    `reduce_ict(import_ict("FaceXModel")).save(PATH, half=True)`."""
    from lssl.data.landmarks import FLIP_68

    marks = torch.from_numpy(model.topology.landmarks).long()
    neutral, composed = model.mean_face(), model.mean_face("happy")
    eyes = neutral[marks, 0]
    unit = float(eyes[42:48].mean() - eyes[36:42].mean())
    rows, wanted = [], []
    for row, (x, y) in _SMILE.items():
        for k, sign in {row: 1, FLIP_68[row]: -1}.items():
            rows.append(k)
            share = _LOWER_LIP if row in _LOWER else 1.0
            wanted.append((sign * x * unit, -y * share * unit))
    at = marks[rows]
    missing = torch.tensor(wanted) - (composed - neutral)[at, :2]
    shape = _spread(model, at, missing)
    count = model.num_expression
    core = torch.zeros(model.core.shape[0] + 1, model.num_identity, count + 1)
    core[:-1, :, :-1] = model.core
    core[-1, 0, -1] = 1.0
    expressions = {name: torch.cat([weights, torch.zeros(1)]) for name, weights in model.expressions.items()}
    expressions["happy"][-1] = 1.0
    return replace(
        model,
        basis=torch.cat([model.basis, shape[..., None]], -1),
        core=core,
        expression_mean=torch.cat([model.expression_mean, torch.zeros(1)]),
        expression_std=torch.cat([model.expression_std, torch.tensor([_STD])]),
        expressions=expressions,
        name=f"ICT-FaceKit, reduced ({model.num_identity - 1} identities, {count - 1} expression shapes and a smile)",
    )


def _spread(model: BilinearFaceModel, at: Tensor, values: Tensor) -> Tensor:
    """(V, 3): a smooth displacement that is `values` (K, 2) at vertices `at` (K,) and fades out away from them.

    Computed on the face with open mouth and eyes, in which the two lips, and the two lids, are far apart.
    """
    opened = model.mean_face("surprised").double()
    places = opened[at]
    kernel = torch.cdist(places, places)
    weights = torch.linalg.solve(_decay(kernel) + _RIDGE * torch.eye(len(at)), values.double())
    distance = torch.cdist(opened, places)
    smooth = _decay(distance) @ weights
    t = ((_REACH[1] - distance.amin(1)) / (_REACH[1] - _REACH[0])).clamp(0, 1)
    rigid = (*EYEBALL_PARTS, Part.TEETH)
    parts = torch.from_numpy(model.topology.vertex_parts.astype("int64"))
    still = torch.isin(parts, torch.tensor([int(part) for part in rigid]))
    smooth = smooth * (t * t * (3 - 2 * t) * ~still)[:, None]
    return torch.cat([smooth, torch.zeros(len(smooth), 1)], 1).float()


def _decay(distance: Tensor) -> Tensor:
    return torch.exp(-distance / 3.0)

"""The eight named expressions in a model whose expression shapes have no names, found by what they do to landmarks."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from lssl.face3d.model.bilinear import EXPRESSIONS

Array = NDArray[np.float64]

# Eyelids and lips move less than the jaw and tell more.
_WEIGHT = np.ones(68)
_WEIGHT[:17] = 0.3
_WEIGHT[17:27] = 1.5
_WEIGHT[36:48] = 2.0
_WEIGHT[48:68] = 1.3
_RIDGE = 0.05  # against many shapes that cancel one another
_MOST = 1.0  # a shape's activation


def name_expressions(neutral: NDArray[np.floating], shapes: NDArray[np.floating]) -> dict[str, Array]:
    """Activations (K,) in [0, 1] of expression shapes for each named expression.

    neutral (68, 3): landmarks of the model's mean neutral face. shapes (K, 68, 3): landmarks of its expression shapes.
    Fits the landmarks' movement in the embedded model's expressions by non-negative least squares, both in units of
    the distance between the outer eye corners.
    """
    from lssl.face3d.embedded import load_embedded_model

    reference = load_embedded_model()
    index = reference.topology.landmarks
    calm = reference.mean_face()[index].double().numpy()
    moves = ((shapes - neutral) / _eye_distance(neutral)) * _WEIGHT[:, None]
    design = np.concatenate([moves.reshape(len(shapes), -1).T, _RIDGE * np.eye(len(shapes))])
    named = {}
    for name in EXPRESSIONS:
        wanted = (reference.mean_face(name)[index].double().numpy() - calm) / _eye_distance(calm) * _WEIGHT[:, None]
        activations, _ = nnls(design, np.concatenate([wanted.reshape(-1), np.zeros(len(shapes))]))
        named[name] = activations.clip(0, _MOST)
    return named


def _eye_distance(landmarks: NDArray[np.floating]) -> float:
    return float(np.linalg.norm(landmarks[45] - landmarks[36]))

"""What an edit must leave as it was: the sharpness of the skin, and everything outside the face."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import polygon

from lssl.evaluation.measures.portraits import FacePicture, eye_distance

_LUMA = np.array([0.299, 0.587, 0.114])
_AWAY = 0.35  # from the mouth's outline, in distances between the eyes


def sharpness_away_from_mouth(portrait: FacePicture, landmarks: NDArray[np.float32] | None = None) -> float:
    """Variance of the Laplacian of the brightness (0 to 255) over the face without the mouth and its surroundings.

    It falls if a picture blurs, and rises if it has noise or seams (Pech-Pacheco et al. 2000). NaN if no pixel is left.
    landmarks: (68, 2) to use instead of the portrait's own, such as the photograph's for what was made from it.
    """
    points = portrait.landmarks if landmarks is None else landmarks
    laplacian = ndimage.laplace(portrait.image.astype(np.float64) @ _LUMA, mode="nearest")
    shape = portrait.image.shape[:2]
    away = ~_grown(_hull(points[48:60], shape), _AWAY * eye_distance(points))
    inside = ndimage.binary_erosion(_hull(points, shape), iterations=2)
    values = laplacian[inside & away]
    return float(values.var()) if len(values) else float("nan")


def sharpness_ratio(made: Sequence[FacePicture], before: Sequence[FacePicture]) -> float:
    """Median over pictures of the sharpness away from the mouth, relative to the photograph's own.

    NaN if no photograph has any, such as drawings of one colour.
    """
    ratios = []
    for picture, photograph in zip(made, before, strict=True):
        own = sharpness_away_from_mouth(photograph)
        if own > 0:
            ratios.append(sharpness_away_from_mouth(picture, photograph.landmarks) / own)
    return float(np.median(ratios)) if ratios else float("nan")


def change_off_face(made: FacePicture, before: FacePicture) -> float:
    """Mean absolute difference (0 to 255) outside the face, over hair and background; for pictures of the same size."""
    shape = before.image.shape[:2]
    outside = ~_grown(_hull(before.landmarks, shape), 0.5 * eye_distance(before.landmarks))
    difference = np.abs(made.image.astype(np.int16) - before.image).mean(2)
    return float(difference[outside].mean()) if outside.any() else 0.0


def _hull(points: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.bool_]:
    from scipy.spatial import ConvexHull

    corners = points[ConvexHull(points).vertices]
    mask = np.zeros(shape, bool)
    rows, columns = polygon(corners[:, 1], corners[:, 0], shape)
    mask[rows, columns] = True
    return mask


def _grown(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    if not mask.any():
        return mask
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(~mask)
    return distance <= radius

"""Part masks drawn from the 68 landmarks, for photographs that have no labels: lips, eyes, face skin."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lssl.data.folder import MASK_LABELS
from lssl.data.landmarks import INNER_LIPS, JAW, LEFT_EYE, OUTER_LIPS, RIGHT_EYE, eye_centres

BACKGROUND, SKIN, LIPS, EYES = range(len(MASK_LABELS))
_OVERSAMPLE = 4
_FOREHEAD = 0.72  # how far the skin reaches above the brows, in distances between the eyes' centres


def landmark_mask(landmarks: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 labels (H, W) of one face from its (68, 2) landmarks: 0 background, 1 skin, 2 lips, 3 eyes.

    Lips are the ring between the outer and the inner lip line; what the open mouth shows is background. Skin is the jaw
    line closed by an arch over the brows, as high as a forehead usually is (hair may cover it: landmarks cannot tell).
    """
    height, width = size
    big = (width * _OVERSAMPLE, height * _OVERSAMPLE)

    def cover(*polygons: NDArray[np.float64]) -> NDArray[np.float64]:
        """The share of each pixel inside the polygons; the second one is cut out of the first."""
        picture = Image.new("L", big, 0)
        draw = ImageDraw.Draw(picture)
        for number, polygon in enumerate(polygons):
            points = (polygon + 0.5) * _OVERSAMPLE - 0.5
            draw.polygon([(float(x), float(y)) for x, y in points], fill=255 if number == 0 else 0)
        small = picture.resize((width, height), Image.Resampling.BOX)
        return np.asarray(small, dtype=np.float64) / 255

    points = landmarks.astype(np.float64)
    mask = np.zeros(size, dtype=np.uint8)
    mask[cover(_face_outline(points)) >= 0.5] = SKIN
    outer, inner = points[list(OUTER_LIPS)], points[list(INNER_LIPS)]
    mask[cover(inner) >= 0.5] = BACKGROUND
    mask[cover(outer, inner) >= 0.5] = LIPS
    for eye in (LEFT_EYE, RIGHT_EYE):
        mask[cover(points[list(eye)]) >= 0.5] = EYES
    return mask


def _face_outline(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The jaw line, closed over the forehead by half an ellipse from temple to temple."""
    jaw = points[list(JAW)]
    left_eye, right_eye = eye_centres(points.astype(np.float32))
    brows = points[17:27]
    up = _up_direction(left_eye.astype(np.float64), right_eye.astype(np.float64))
    distance = float(np.hypot(*(right_eye - left_eye)))
    mouth = points[[48, 54]].mean(0)
    between = (left_eye + right_eye) / 2
    unit = max(distance, float(np.hypot(*(mouth - between))))
    start, end = jaw[-1], jaw[0]
    middle = (start + end) / 2
    brow_height = float(((brows - middle) @ up).max())
    height = brow_height + _FOREHEAD * unit
    angle = np.linspace(0, np.pi, 25)[1:-1]
    arch = middle + np.cos(angle)[:, None] * (start - middle) + np.sin(angle)[:, None] * height * up
    return np.concatenate([jaw, arch])


def _up_direction(left_eye: NDArray[np.float64], right_eye: NDArray[np.float64]) -> NDArray[np.float64]:
    along = right_eye - left_eye
    length = float(np.hypot(*along))
    if length < 1e-6:
        return np.array([0.0, -1.0])
    return np.array([along[1], -along[0]]) / length

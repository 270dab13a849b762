"""Portraits for the measures: whole photographs with landmarks, and crops of mouth, eyes and face from them.

All crops are taken in the same way: upright, with the eyes' centres at a fixed place and a fixed number of pixels apart, so
that pictures of people who stand nearer or tilt their heads are compared at the same scale. The position of a crop depends
on nothing that an expression moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lssl.data import detect
from lssl.data.align import Similarity, warp
from lssl.data.landmarks import eye_centres

#: Pictures are judged with their longer side at this many pixels, or at their own size if they are smaller.
SIDE = 512
#: Pixels between the eyes' centres in a picture of SIDE pixels that a face fills as in a passport photograph.
EYE_DISTANCE = SIDE / 6.667
# Where dlib's frontal detector puts its box: its centre's distance below the eyes' centre, and its side, in distances
# between the eyes (mean of 40 photographs of the London set). A box that depends only on the eyes does not move with the
# expression.
_BOX_BELOW, _BOX_SIDE = 0.496, 2.278


@dataclass(frozen=True)
class FacePicture:
    """One picture of somebody: `image` uint8 (H, W, 3), `landmarks` float32 (68, 2) in its pixels, `label`: the class shown
    or asked for."""

    subject: str
    label: str
    image: NDArray[np.uint8]
    landmarks: NDArray[np.float32]


@dataclass(frozen=True)
class Region:
    """A part of the face to crop, in distances between the eyes: width, height, centre below the eyes' centre.

    detail: crop pixels per pixel of the judged picture.
    """

    name: str
    width: float
    height: float
    below: float
    detail: float = 1.0


# 96x64, 144x64 and 128x128 pixels for photographs of SIDE pixels.
MOUTH = Region("mouth", 1.25, 0.8333, 1.06)
EYES = Region("eyes", 1.875, 0.8333, -0.1)
FACE = Region("whole face", 3.3333, 3.3333, 0.55, detail=0.5)
# 24x16 pixels: what can be told apart at this size is wrong at a glance, not just in its fine grain.
COARSE_MOUTH = Region("mouth, coarse", MOUTH.width, MOUTH.height, MOUTH.below, detail=0.25)
REGIONS = (MOUTH, COARSE_MOUTH, EYES, FACE)


def eye_distance(landmarks: NDArray[np.float32]) -> float:
    """Pixels between the eyes' centres of (68, 2) landmarks."""
    left, right = eye_centres(landmarks)
    return float(np.hypot(*(right - left)))


def resized(portrait: FacePicture, side: int) -> FacePicture:
    """The portrait with its longer side at `side` pixels (Lanczos); unchanged if it is not larger."""
    height, width = portrait.image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return portrait
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = np.array(Image.fromarray(portrait.image).resize(size, Image.Resampling.LANCZOS))
    ratio = np.array([size[0] / width, size[1] / height])
    return replace(portrait, image=image, landmarks=((portrait.landmarks + 0.5) * ratio - 0.5).astype(np.float32))


def found_anew(portrait: FacePicture) -> FacePicture:
    """The portrait with the landmarks that dlib finds in its own picture, near the eyes of the given landmarks.

    The search box depends on the given eyes, so that a photograph and what was made from it are measured in the same way.
    Raises DetectionError if dlib is not installed.
    """
    left, right = eye_centres(portrait.landmarks)
    unit = eye_distance(portrait.landmarks)
    x, y = (left + right) / 2 + np.array([0.0, _BOX_BELOW * unit])
    half = _BOX_SIDE / 2 * unit
    points = detect.landmarks_in_box(portrait.image, (x - half, y - half, x + half, y + half))
    return replace(portrait, landmarks=points)


def common_scale(portraits: Sequence[FacePicture]) -> float:
    """The distance between the eyes to crop with, in pixels: the median of the portraits', at most EYE_DISTANCE."""
    return min(EYE_DISTANCE, float(np.median([eye_distance(portrait.landmarks) for portrait in portraits])))


def region_crops(portraits: Sequence[FacePicture], region: Region, scale: float) -> NDArray[np.uint8]:
    """Upright crops (N, H, W, 3) of a region, with `scale` pixels between the eyes (times the region's detail)."""
    pixels = scale * region.detail
    width, height = (max(8, round(length * pixels / 8) * 8) for length in (region.width, region.height))
    crops = []
    for portrait in portraits:
        left, right = eye_centres(portrait.landmarks.astype(np.float64))
        across = right - left
        length = float(np.hypot(*across))
        cosine, sine = across / length
        matrix = pixels / length * np.array([[cosine, sine], [-sine, cosine]])
        centre = np.array([(width - 1) / 2, (height - 1) / 2 - region.below * pixels])
        similarity = Similarity(matrix, centre - matrix @ ((left + right) / 2))
        crops.append(warp(portrait.image, similarity, max(width, height))[:height, :width])
    return np.stack(crops)

"""Portraits as the measures take them: whole photographs with landmarks, and crops of mouth, eyes and face from them.

All crops are taken alike: upright, the eyes' centres at a fixed place and a fixed number of pixels apart, so that
pictures of people who stand nearer or tilt their heads are compared at one scale. Nothing that an expression moves
decides where a crop lies.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lssl.data import detect
from lssl.data.align import Similarity, warp
from lssl.data.landmarks import eye_centres

#: Pictures are judged at this length of their longer side, and never enlarged to it.
SIDE = 512
#: Pixels between the eyes' centres of a portrait that fills a picture of SIDE pixels as passport photographs do.
EYE_DISTANCE = SIDE / 6.667
# Where dlib's frontal detector puts its box: centre below the eyes' centre and side, in distances between the eyes
# (mean of 40 photographs of the London set). A box that hangs on the eyes alone does not move with the expression.
_BOX_BELOW, _BOX_SIDE = 0.496, 2.278


@dataclass(frozen=True)
class FacePicture:
    """One picture of somebody: `image` uint8 (H, W, 3), `landmarks` float32 (68, 2), `label` the class shown or asked."""

    subject: str
    label: str
    image: NDArray[np.uint8]
    landmarks: NDArray[np.float32]


@dataclass(frozen=True)
class Region:
    """A part of the face to crop, in distances between the eyes: width, height, centre below the eyes' centre.

    detail: crop pixels a pixel of the judged picture.
    """

    name: str
    width: float
    height: float
    below: float
    detail: float = 1.0


# 96x64, 144x64 and 128x128 pixels of photographs of SIDE pixels.
MOUTH = Region("mouth", 1.25, 0.8333, 1.06)
EYES = Region("eyes", 1.875, 0.8333, -0.1)
FACE = Region("whole face", 3.3333, 3.3333, 0.55, detail=0.5)
# 24x16 pixels: what is told apart here is amiss at a glance, not in the grain.
COARSE_MOUTH = Region("mouth, coarse", MOUTH.width, MOUTH.height, MOUTH.below, detail=0.25)
REGIONS = (MOUTH, COARSE_MOUTH, EYES, FACE)


def eye_distance(landmarks: NDArray[np.float32]) -> float:
    """Pixels between the eyes' centres of (68, 2) landmarks."""
    left, right = eye_centres(landmarks)
    return float(np.hypot(*(right - left)))


def resized(portrait: FacePicture, side: int) -> FacePicture:
    """The portrait with its longer side at `side` pixels (Lanczos); as it is where it is not larger."""
    height, width = portrait.image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return portrait
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = np.array(Image.fromarray(portrait.image).resize(size, Image.Resampling.LANCZOS))
    ratio = np.array([size[0] / width, size[1] / height])
    return replace(portrait, image=image, landmarks=((portrait.landmarks + 0.5) * ratio - 0.5).astype(np.float32))


def found_anew(portrait: FacePicture) -> FacePicture:
    """The portrait with the landmarks that dlib finds in its own picture, near the eyes of those that are given.

    The search box hangs on the given eyes, so that a photograph and what was made from it are measured alike.
    Raises DetectionError where dlib is not installed.
    """
    left, right = eye_centres(portrait.landmarks)
    unit = eye_distance(portrait.landmarks)
    x, y = (left + right) / 2 + np.array([0.0, _BOX_BELOW * unit])
    half = _BOX_SIDE / 2 * unit
    points = detect.landmarks_in_box(portrait.image, (x - half, y - half, x + half, y + half))
    return replace(portrait, landmarks=points)


def common_scale(portraits: Sequence[FacePicture]) -> float:
    """Pixels between the eyes to crop with: the median of the portraits', EYE_DISTANCE at most."""
    return min(EYE_DISTANCE, float(np.median([eye_distance(portrait.landmarks) for portrait in portraits])))


def region_crops(portraits: Sequence[FacePicture], region: Region, scale: float) -> NDArray[np.uint8]:
    """Upright crops (N, H, W, 3) of a region, `scale` pixels between the eyes (times the region's detail)."""
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

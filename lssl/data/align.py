"""Similarity alignment on eyes and mouth, and the crop that follows from it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lssl.data.landmarks import eye_centres
from lssl.errors import LsslError

#: The crop's side in distances between the eyes' centres: chin and ears inside, most of the hair.
CROP_SCALE = 4.0
EYE_LINE = 0.435  #: The eyes' distance from the top of the crop, as a share of its side.
_OUTSIDE = 0.15
UPPER_LIP = (50, 51, 52, 61, 62, 63)
# From the eyes down to the upper lip is 0.97 +- 0.06 of the distance between the eyes (82 people, neutral and smiling).
# Above this the eyes are foreshortened by a turn of the head, and the mouth gives the scale.
_LARGEST_RATIO = 1.07
_MOUTH_IN_ROTATION = 0.25


@dataclass(frozen=True)
class Similarity:
    """Maps photograph pixels (x, y) to crop pixels: crop = matrix @ photograph + offset."""

    matrix: NDArray[np.float64]  # (2, 2), a rotation times `scale`
    offset: NDArray[np.float64]  # (2,)

    @property
    def scale(self) -> float:
        """Crop pixels per photograph pixel."""
        return float(np.hypot(self.matrix[0, 0], self.matrix[1, 0]))

    def apply(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Maps points (..., 2) from the photograph's pixels to the crop's."""
        return (points @ self.matrix.T + self.offset).astype(np.float32)

    def inverse(self) -> "Similarity":
        matrix = np.linalg.inv(self.matrix).astype(np.float64)
        return Similarity(matrix, -matrix @ self.offset)


def face_anchors(landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    """The three points that decide a crop, (3, 2): the centres of the left eye, the right eye and the upper lip.

    The upper lip represents the mouth because it moves least with the expression: a smile raises the mouth's corners
    by 8% of their distance from the eyes, a dropped jaw lowers them, and either would change the head's size in the
    crop.
    """
    left, right = eye_centres(landmarks)
    return np.stack([left, right, landmarks[list(UPPER_LIP)].mean(0)]).astype(np.float64)


@dataclass(frozen=True)
class Framing:
    """Where faces lie in a data set's crops, so that a photograph can be framed as a model saw its training faces.

    crop_scale: the crop's side in distances between the eyes' centres. eye_line: the eyes' distance from the top, as a
    share of the side.
    """

    crop_scale: float = CROP_SCALE
    eye_line: float = EYE_LINE

    def to_dict(self) -> dict[str, float]:
        return {"crop_scale": round(self.crop_scale, 4), "eye_line": round(self.eye_line, 4)}


def framing_of(landmarks: NDArray[np.float32], size: int) -> Framing:
    """The framing (medians) of square crops of `size` pixels with landmarks (N, 68, 2)."""
    units, heights = [], []
    for points in landmarks:
        left, right, mouth = face_anchors(points)
        between = (left + right) / 2
        units.append(max(np.hypot(*(right - left)), np.hypot(*(mouth - between)) / _LARGEST_RATIO))
        heights.append(between[1])
    return Framing(size / max(float(np.median(units)), 1e-3), (float(np.median(heights)) + 0.5) / size)


def face_similarity(
    anchors: NDArray[np.float64], size: int, crop_scale: float = CROP_SCALE, eye_line: float = EYE_LINE
) -> Similarity:
    """The similarity that brings a face's anchors (3, 2), see `face_anchors`, upright into a crop of `size` pixels.

    The eyes give height, tilt and, unless the head is turned, scale; the mouth gives the scale of turned heads, a
    share of the tilt, and half of the horizontal position.
    Raises LsslError for a face that is tiny (under 8 pixels between the eyes) or degenerate.
    """
    left, right, mouth = anchors
    between = (left + right) / 2
    across, down = right - left, mouth - between
    unit = max(float(np.hypot(*across)), float(np.hypot(*down)) / _LARGEST_RATIO)
    along = across + _MOUTH_IN_ROTATION * np.array([down[1], -down[0]])
    length = float(np.hypot(*along))
    if not np.isfinite(anchors).all() or unit < 1e-3 or length < 0.05 * unit:
        raise LsslError("the landmarks of eyes and mouth do not make a face")
    if unit < 8:
        raise LsslError(f"the face is too small: {unit:.1f} pixels between the eyes")
    cosine, sine = along / length
    scale = size / (crop_scale * unit)
    matrix = scale * np.array([[cosine, sine], [-sine, cosine]])
    eyes_at, mouth_at = matrix @ between, matrix @ mouth
    x = (size - 1) / 2 - (eyes_at[0] + mouth_at[0]) / 2
    y = eye_line * size - 0.5 - eyes_at[1]
    return Similarity(matrix, np.array([x, y]))


def warp_labels(labels: NDArray[np.uint8], similarity: Similarity, size: int) -> NDArray[np.uint8]:
    """The square crop (size, size) of a label map (H, W) under a similarity: nearest label, 0 outside."""
    inverse = similarity.inverse()
    y, x = np.mgrid[0:size, 0:size]
    points = np.rint(np.stack([x, y], -1) @ inverse.matrix.T + inverse.offset).astype(int)
    inside = (points >= 0).all(-1) & (points < [labels.shape[1], labels.shape[0]]).all(-1)
    points[~inside] = 0
    return np.where(inside, labels[points[..., 1], points[..., 0]], 0).astype(np.uint8)


def warp(image: NDArray[np.uint8], similarity: Similarity, size: int) -> NDArray[np.uint8]:
    """The square crop (size, size, C or none) of a uint8 image under a similarity; antialiased.

    What lies outside the photograph is its mirror image, blending to the border's colour further out.
    """
    corners = np.array([[-0.5, -0.5], [size - 0.5, -0.5], [-0.5, size - 0.5], [size - 0.5, size - 0.5]])
    inside = corners @ similarity.inverse().matrix.T + similarity.inverse().offset
    margin = 4 + 2 / similarity.scale
    low = np.floor(inside.min(0) - margin).astype(int)
    high = np.ceil(inside.max(0) + margin).astype(int) + 1
    piece = _window(image, low, high)
    shift = Similarity(similarity.matrix, similarity.offset + similarity.matrix @ low)
    picture = Image.fromarray(piece)
    # Shrink first, by area, so that the bicubic step below never skips pixels.
    width = max(1, int(np.ceil(picture.width * similarity.scale)))
    height = max(1, int(np.ceil(picture.height * similarity.scale)))
    if width < picture.width and height < picture.height:
        ratio = np.array([width / picture.width, height / picture.height])
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        # old pixel p lies at (p + 0.5) * ratio - 0.5
        matrix = shift.matrix / ratio
        shift = Similarity(matrix, shift.offset + matrix @ (0.5 - 0.5 * ratio))
    inverse = shift.inverse()
    # Pillow's affine coordinates have pixel centres at halves.
    offset = inverse.offset + 0.5 - inverse.matrix @ np.array([0.5, 0.5])
    coefficients = (*inverse.matrix[0], offset[0], *inverse.matrix[1], offset[1])
    result = picture.transform(
        (size, size), Image.Transform.AFFINE, tuple(map(float, coefficients)), Image.Resampling.BICUBIC
    )
    return np.array(result)


def check_inside(landmarks: NDArray[np.float32], height: int, width: int) -> None:
    """Raises LsslError if more than 15% of the landmarks (68, 2) lie outside the picture."""
    beyond = (landmarks < -0.5) | (landmarks > np.array([width - 0.5, height - 0.5]))
    count = int(beyond.any(1).sum())
    if count > _OUTSIDE * len(landmarks):
        raise LsslError(
            f"the face is cut off: {count} of {len(landmarks)} landmarks lie outside the {width}x{height} picture"
        )


def _window(image: NDArray[np.uint8], low: NDArray[np.int_], high: NDArray[np.int_]) -> NDArray[np.uint8]:
    """image[low:high] (x, y), continued outside by its mirror image, which fades to a smooth border colour."""
    height, width = image.shape[:2]
    x, y = np.arange(low[0], high[0]), np.arange(low[1], high[1])
    if low.min() >= 0 and high[0] <= width and high[1] <= height:
        return image[low[1] : high[1], low[0] : high[0]]
    piece = image[_mirror(y, height)[:, None], _mirror(x, width)[None]]
    away_x = np.maximum(np.maximum(-x, x - (width - 1)), 0)
    away_y = np.maximum(np.maximum(-y, y - (height - 1)), 0)
    away = np.maximum(away_x[None], away_y[:, None])
    reach = max(8.0, 0.08 * float(max(high - low)))
    fade = np.clip(away / reach, 0, 1)
    if image.ndim == 3:
        border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        blurred = _blur(piece, reach / 2)
        calm = 0.5 * blurred + 0.5 * np.median(border, axis=0)
        mixed = piece * (1 - fade[..., None]) + calm * fade[..., None]
        return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return piece


def _blur(piece: NDArray[np.uint8], radius: float) -> NDArray[np.float64]:
    from PIL import ImageFilter

    return np.asarray(Image.fromarray(piece).filter(ImageFilter.GaussianBlur(radius)), dtype=np.float64)


def _mirror(index: NDArray[np.int_], count: int) -> NDArray[np.int_]:
    if count == 1:
        return np.zeros_like(index)
    period = 2 * (count - 1)
    index = np.abs(index) % period
    return np.where(index < count, index, period - index)

"""Small data for the tests of this folder: landmarks of a drawn face, pictures of it, data set folders."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from lssl.data import FaceFolderWriter, FaceRow


def face_points(width: float = 200, centre: tuple[float, float] = (256, 240)) -> np.ndarray:
    """68 landmarks (68, 2) of a frontal face `width` pixels between the ears, symmetric about x = centre."""

    def arc(x0, y0, rx, ry, start, stop, count):
        angle = np.deg2rad(np.linspace(start, stop, count))
        return np.stack([x0 + rx * np.cos(angle), y0 + ry * np.sin(angle)], 1)

    eye_left = arc(-0.22, 0, 0.08, 0.035, 180, 540, 7)[:-1]
    points = np.concatenate(
        [
            arc(0, 0, 0.5, 0.8, 180, 0, 17),
            arc(-0.23, -0.12, 0.13, 0.05, 200, 340, 5),
            arc(0.23, -0.12, 0.13, 0.05, 200, 340, 5),
            np.stack([np.zeros(4), np.linspace(-0.02, 0.26, 4)], 1),
            np.stack([np.linspace(-0.08, 0.08, 5), np.full(5, 0.31)], 1),
            eye_left,
            (eye_left * [-1, 1])[[3, 2, 1, 0, 5, 4]],
            arc(0, 0.5, 0.18, 0.07, 180, 540, 13)[:-1],
            arc(0, 0.5, 0.12, 0.02, 180, 540, 9)[:-1],
        ]
    )
    return (points * width + centre).astype(np.float32)


def face_picture(points: np.ndarray, size: tuple[int, int] = (512, 512), shade: int = 200) -> np.ndarray:
    """A drawing (height, width, 3) of the face at the landmarks."""
    image = Image.new("RGB", (size[1], size[0]), (90, 110, 140))
    draw = ImageDraw.Draw(image)

    def fill(group, colour):
        draw.polygon([(float(x), float(y)) for x, y in points[group]], fill=colour)

    fill(list(range(17)) + list(range(26, 16, -1)), (shade, shade - 40, shade - 70))
    for eye in (range(36, 42), range(42, 48)):
        fill(list(eye), (250, 250, 250))
    fill(list(range(48, 60)), (180, 40, 60))
    return np.array(image)


def write_photograph(path: Path, *, centre=(256, 240), width: float = 200, shade: int = 200) -> np.ndarray:
    """A drawn face with its `.pts` beside it; returns the landmarks."""
    from lssl.data.landmark_files import write_pts

    points = face_points(width, centre)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(face_picture(points, shade=shade)).save(path)
    write_pts(path.with_suffix(".pts"), points)
    return points


def write_folder(
    root: Path, *, subjects: int = 5, size: int = 32, masks: bool = False, side: bool = False, **settings
) -> Path:
    """A data set folder with two expressions per subject; the last subject is the test split."""
    writer = FaceFolderWriter(root, attributes=["expression"], settings={"made": "by a test", **settings})
    points = face_points(size * 0.6, (size / 2 - 0.5, size * 0.45))
    for subject in range(subjects):
        for expression in ("neutral", "happy"):
            moved = points + np.float32(subject * 0.1)
            image = face_picture(moved, (size, size), 150 + 10 * subject)
            image[:2, :2] = 10 * subject + (expression == "happy")
            writer.add(
                FaceRow(
                    f"{subject:03d}_{expression}",
                    image,
                    f"s{subject}",
                    "test" if subject == subjects - 1 else "train",
                    {"expression": expression},
                    landmarks=moved,
                    mask=(image[..., 0] % 4).astype(np.uint8) if masks else None,
                    side=image[::-1].copy() if side else None,
                )
            )
    writer.finish()
    return root

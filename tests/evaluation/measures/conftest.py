"""Pictures with known statistics, and landmarks of a face that can be moved."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from lssl.data.landmarks import MOUTH_CORNERS


def crops(count: int, seed: int, shape: tuple[int, int] = (32, 48)) -> NDArray[np.uint8]:
    """Crops (N, H, W, 3) as detailed as photographs: noise at three scales, each with a colour of its own."""
    chance = np.random.default_rng(seed)
    result = []
    for _ in range(count):
        picture = chance.normal(0, 8, (*shape, 3))
        for sigma, strength in ((1.5, 40), (5, 160)):
            noise = chance.normal(0, strength, (*shape, 1))
            picture = picture + ndimage.gaussian_filter(noise, (sigma, sigma, 0))
        result.append(picture + chance.normal(130, 12, 3))
    return np.clip(np.stack(result), 0, 255).astype(np.uint8)


def face(unit: float = 60.0, centre: tuple[float, float] = (128.0, 100.0)) -> NDArray[np.float32]:
    """68 landmarks of an upright face, `unit` pixels between the eyes' centres; `centre` lies halfway between them."""
    points = np.zeros((68, 2))
    turn = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([1.1 * np.cos(turn), 0.3 + 1.4 * np.sin(turn)], 1)
    points[17:22] = np.stack([np.linspace(-0.8, -0.2, 5), [-0.3, -0.36, -0.38, -0.36, -0.32]], 1)
    points[22:27] = points[17:22][::-1] * [-1, 1]
    points[27:31] = np.stack([np.zeros(4), np.linspace(0.1, 0.6, 4)], 1)
    points[31:36] = np.stack([np.linspace(-0.2, 0.2, 5), [0.68, 0.7, 0.72, 0.7, 0.68]], 1)
    eye = np.array([[-0.22, 0], [-0.08, -0.07], [0.08, -0.07], [0.22, 0], [0.08, 0.07], [-0.08, 0.07]])
    points[36:42], points[42:48] = eye + [-0.5, 0], eye + [0.5, 0]
    outer = np.linspace(np.pi, -np.pi, 13)[:12]
    points[48:60] = np.stack([0.4 * np.cos(outer), 1.05 - 0.15 * np.sin(outer)], 1)
    inner = np.linspace(np.pi, -np.pi, 9)[:8]
    points[60:68] = np.stack([0.3 * np.cos(inner), 1.05 - 0.05 * np.sin(inner)], 1)
    return (points * unit + np.array(centre)).astype(np.float32)


def smiling(points: NDArray[np.float32], lift: float, wider: float, opening: float) -> NDArray[np.float32]:
    """The landmarks with the corners raised, the mouth widened and the lips parted, in distances between the eyes."""
    unit = points[42:48].mean(0)[0] - points[36:42].mean(0)[0]
    moved = points.copy()
    left, right = MOUTH_CORNERS
    moved[[left, right], 1] -= lift * unit
    moved[left, 0] -= wider / 2 * unit
    moved[right, 0] += wider / 2 * unit
    moved[[61, 62, 63], 1] -= opening / 2 * unit
    moved[[65, 66, 67], 1] += opening / 2 * unit
    return moved


def portrait_picture(seed: int, side: int = 256) -> NDArray[np.uint8]:
    """A uint8 picture (side, side, 3) of noise, as detailed as a photograph."""
    return crops(1, seed, (side, side))[0]


@pytest.fixture(scope="session")
def drawn() -> SimpleNamespace:
    """The functions of this file: test modules import nothing from one another."""
    return SimpleNamespace(crops=crops, face=face, smiling=smiling, picture=portrait_picture)

"""How similar two pictures are: SSIM and PSNR, by scikit-image."""

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

_EQUAL = 100.0  # dB, for equal pictures


def ssim(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Mean structural similarity (-1 to 1) over pairs of images (N, H, W, 3) (Wang et al. 2004)."""
    _check(first, second)
    pairs = zip(first, second, strict=True)
    return float(np.mean([structural_similarity(a, b, channel_axis=2, data_range=255) for a, b in pairs]))


def psnr(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Mean peak signal-to-noise ratio (dB) over pairs of images (N, H, W, 3); equal pairs, whose PSNR is infinite, count as
    100 dB so that the mean stays finite."""
    _check(first, second)
    ratios = [
        _EQUAL if np.array_equal(a, b) else peak_signal_noise_ratio(a, b, data_range=255)
        for a, b in zip(first, second, strict=True)
    ]
    return float(np.mean(ratios))


PAIR_MEASURES = {"SSIM": ssim, "PSNR": psnr}


def _check(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> None:
    if first.shape != second.shape or first.ndim != 4 or first.dtype != np.uint8 or second.dtype != np.uint8:
        raise ValueError(f"pairs must be uint8 (N, H, W, 3) of the same shape; got {first.shape} and {second.shape}")

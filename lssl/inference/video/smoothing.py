"""Landmarks that do not jitter: the one-euro filter.

Casiez, Roussel and Vogel 2012, "1 Euro Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive
Systems" (https://gery.casiez.net/1euro/): a low-pass filter whose cutoff rises with speed, so that points at rest do not
jitter and moving points do not lag.
"""

import numpy as np
from numpy.typing import NDArray


class OneEuro:
    """Filters points (K, 2), call after call. A point's speed is the length of its filtered derivative.

    Args:
        slowest: cutoff for points at rest, in Hz ("fcmin" in the paper).
        gain: how many Hz the cutoff rises per unit of length per second ("beta"). A point that moves steadily lags by
            less than 1 / (2 pi gain) units.
        derivative: cutoff for the derivative, in Hz ("dcutoff").
    """

    def __init__(self, slowest: float = 1.5, gain: float = 12.0, derivative: float = 2.0) -> None:
        self.slowest, self.gain, self.derivative = slowest, gain, derivative
        self._points: NDArray[np.float64] | None = None
        self._speed = np.zeros(0)

    def __call__(self, points: NDArray[np.floating], seconds: float, unit: float = 1.0) -> NDArray[np.float64]:
        """The filtered points, given points `seconds` after the last ones. unit: the unit of length of `gain`."""
        new = points.astype(np.float64)
        if self._points is None:
            self._points, self._speed = new, np.zeros_like(new)
            return new
        seconds = max(seconds, 1e-3)
        rate = (new - self._points) / seconds
        self._speed = self._speed + share(self.derivative, seconds) * (rate - self._speed)
        cutoff = self.slowest + self.gain * np.linalg.norm(self._speed, axis=-1, keepdims=True) / unit
        self._points = self._points + share(cutoff, seconds) * (new - self._points)
        return self._points


def share(cutoff: float | NDArray[np.float64], seconds: float) -> float | NDArray[np.float64]:
    """The new value's share in a first-order low-pass filter of `cutoff` Hz, `seconds` after the last value."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * seconds))

"""The one-euro filter against its formula, written out for a single number."""

import math

import numpy as np

from lssl.inference.video.smoothing import OneEuro


def expected(values, seconds, slowest, gain, derivative):
    """Casiez, Roussel and Vogel 2012, algorithm 1."""

    def alpha(cutoff):
        tau = 1 / (2 * math.pi * cutoff)
        return 1 / (1 + tau / seconds)

    last, speed, out = values[0], 0.0, [values[0]]
    for value in values[1:]:
        speed += alpha(derivative) * ((value - last) / seconds - speed)
        last += alpha(slowest + gain * abs(speed)) * (value - last)
        out.append(last)
    return out


def test_follows_the_formula():
    values = np.random.default_rng(0).normal(size=30).cumsum()
    smooth = OneEuro(1.5, 3.0, 2.0)
    made = [smooth(np.array([[v, 5.0]]), 1 / 25) for v in values]
    assert np.allclose([m[0, 0] for m in made], expected(list(values), 1 / 25, 1.5, 3.0, 2.0))
    assert np.allclose([m[0, 1] for m in made], 5.0)


def test_rest_is_calmed_and_movement_does_not_lag():
    random = np.random.default_rng(0)
    noise = random.normal(0, 0.3, (60, 68, 2))
    smooth = OneEuro()
    still = np.stack([smooth(points, 1 / 30, unit=50.0) for points in noise])
    assert np.diff(still, axis=0)[10:].std() < 0.4 * np.diff(noise, axis=0).std()
    smooth = OneEuro()
    moving = [smooth(np.full((1, 2), 4.0 * k), 1 / 30, unit=50.0)[0, 0] for k in range(60)]
    assert abs(moving[-1] - 4.0 * 59) < 50.0 / (2 * math.pi * smooth.gain) * 1.05

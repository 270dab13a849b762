import numpy as np
import torch

from lssl.data import landmarks as lm

POINTS = np.stack([np.linspace(1, 60, 68), np.linspace(5, 50, 68)], 1).astype(np.float32)


def test_flip_permutation_is_an_involution_that_swaps_left_and_right_groups() -> None:
    flip = np.array(lm.FLIP_68)
    assert sorted(flip) == list(range(68))
    assert (flip[flip] == np.arange(68)).all()
    for left, right in ((lm.LEFT_EYE, lm.RIGHT_EYE), (lm.LEFT_BROW, lm.RIGHT_BROW)):
        assert set(flip[list(left)]) == set(right)
    for own in (lm.JAW, lm.NOSE_BRIDGE, lm.NOSE_BASE, lm.OUTER_LIPS, lm.INNER_LIPS):
        assert set(flip[list(own)]) == set(own)
    fixed = {8, 27, 28, 29, 30, 33, 51, 57, 62, 66}
    assert {k for k in range(68) if flip[k] == k} == fixed


def test_flip_keeps_every_point_on_its_pixel() -> None:
    picture = np.zeros((64, 64), np.float32)
    k = 36
    x, y = int(POINTS[k, 0]), int(POINTS[k, 1])
    picture[y, x] = 1
    flipped = lm.flip_landmarks(np.floor(POINTS), 64)
    assert picture[:, ::-1][int(flipped[45, 1]), int(flipped[45, 0])] == 1
    assert torch.equal(lm.flip_landmarks(torch.tensor(POINTS), 64), torch.tensor(lm.flip_landmarks(POINTS, 64)))

"""An edit on the photograph's own pixels."""

import numpy as np
import pytest
import torch

from lssl.data.align import Similarity
from lssl.inference.full_size import apply_edit
from lssl.models.moving import Edit

SIZE, PHOTO = 32, (150, 170)


@pytest.fixture
def photograph():
    y, x = np.mgrid[: PHOTO[0], : PHOTO[1]]
    waves = np.stack([np.sin(x / 9) + np.cos(y / 7), np.sin((x + y) / 11), np.cos(x / 5) * np.sin(y / 13)], -1)
    return np.clip(128 + 60 * waves, 0, 255).astype(np.uint8)


@pytest.fixture
def similarity():
    angle, scale = 0.1, SIZE / 80
    matrix = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return Similarity(matrix, np.array([-9.0, -6.0]))


def edit(flow=(0.0, 0.0), tone=0.0, opacity=0.0, paint=0.0):
    return Edit(
        torch.tensor(flow).reshape(1, 2, 1, 1).repeat(1, 1, 16, 16),
        torch.full((1, 3, 16, 16), tone),
        torch.full((1, 3, SIZE, SIZE), paint),
        torch.full((1, 1, SIZE, SIZE), opacity),
    )


def disc():
    c = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    return np.clip(3 - 4 * np.hypot(c[None], c[:, None]), 0, 1).astype(np.float32)


def test_nothing_asked_for_changes_nothing(photograph, similarity):
    assert np.array_equal(apply_edit(photograph, similarity, edit(), disc()), photograph)


def test_outside_the_face_the_photograph_is_left_bit_for_bit(photograph, similarity):
    made = apply_edit(photograph, similarity, edit((0.2, 0.1), 0.3, 0.5, 1.0), disc())
    y, x = np.mgrid[: PHOTO[0], : PHOTO[1]]
    at = np.stack([x, y], -1) @ similarity.matrix.T + similarity.offset
    outside = np.hypot(*np.moveaxis((at + 0.5) / SIZE * 2 - 1, -1, 0)) > 0.85
    assert np.array_equal(made[outside], photograph[outside])
    assert not np.array_equal(made, photograph)


def test_flow_moves_the_photographs_own_pixels(photograph, similarity):
    made = apply_edit(photograph, similarity, edit((0.1, 0.0)), np.ones((SIZE, SIZE), np.float32))
    shift = np.array([0.1 * SIZE / 2, 0.0]) @ similarity.inverse().matrix.T  # photograph pixels
    y, x = np.mgrid[70:80, 70:80]
    from scipy.ndimage import map_coordinates

    for channel in range(3):
        expected = map_coordinates(photograph[..., channel].astype(float), [y + shift[1], x + shift[0]], order=3)
        assert np.abs(made[70:80, 70:80, channel] - expected).max() < 3


def test_paint_is_no_greener_than_faces_are(photograph, similarity):
    skin = np.stack([photograph[..., 0], photograph[..., 0] // 2, photograph[..., 0] // 3], -1)
    green = edit(opacity=1.0)
    green.paint[:, 0], green.paint[:, 1], green.paint[:, 2] = -0.5, 0.8, -0.9
    everywhere = np.ones((SIZE, SIZE), np.float32)
    made = apply_edit(skin, similarity, green, everywhere)[60:90, 60:90].astype(int)
    assert (made[..., 1] <= made[..., 0] + 1).all()
    in_green_light = apply_edit(skin[..., [1, 0, 2]], similarity, green, everywhere)[60:90, 60:90].astype(int)
    assert (in_green_light[..., 1] > in_green_light[..., 0] + 50).all()


def test_tone_and_paint(photograph, similarity):
    everywhere = np.ones((SIZE, SIZE), np.float32)
    darker = apply_edit(photograph, similarity, edit(tone=-0.5), everywhere)[60:90, 60:90]
    assert np.abs(darker - photograph[60:90, 60:90] * np.exp(-0.5)).max() < 1.5
    painted = apply_edit(photograph, similarity, edit(opacity=1.0, paint=0.5), everywhere)[60:90, 60:90]
    assert np.abs(painted - 1.5 * 127.5).max() <= 1

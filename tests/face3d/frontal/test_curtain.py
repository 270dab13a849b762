"""Hair that hangs beside a turned head, and the wall behind it."""

import numpy as np
import torch

from lssl.face3d.frontal.covering import HeadColours
from lssl.face3d.frontal.curtain import closed_up, hanging_hair, hanging_places, hanging_share
from lssl.face3d.frontal.walls import wall

SIDE = 100
SKIN, HAIR, WALL = (torch.tensor(c) for c in ((0.8, 0.6, 0.5), (0.25, 0.15, 0.1), (0.2, 0.5, 0.9)))
GRID = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), -1)


def scene(behind=WALL):
    """A picture (SIDE, SIDE, 3): a face, hair on its left down to the border, another dark shape at the lower right."""
    picture = behind.expand(SIDE, SIDE, 3).clone()
    picture[10:, 20:40] = HAIR
    picture[20:80, 40:70] = SKIN
    picture[85:, 75:90] = HAIR
    head = np.zeros((SIDE, SIDE), bool)
    head[15:90, 30:70] = True
    return picture, head


def test_hair_that_hangs_from_the_head_is_found_and_what_only_looks_like_it_is_not():
    picture, head = scene()
    behind = wall(picture, head, HeadColours(SKIN, HAIR, HAIR[None], 0.03))
    shown = np.ones((SIDE, SIDE), bool)
    hang = hanging_hair(picture, shown, behind, GRID[..., 1], GRID[..., 0], rows=(50, 50))[..., 0]
    assert hang[60:95, 24:36].min() > 0.95
    assert hang[:50].max() < 0.1  # above the ears the head's own outline decides
    assert hang[60:, 45:].max() < 0.05
    shown[:, :30] = False
    assert hanging_hair(picture, shown, behind, GRID[..., 1], GRID[..., 0], rows=(50, 50))[60:, :26].max() < 0.05


def test_before_a_wall_like_hair_no_hair_is_made_up():
    picture, head = scene(behind=HAIR)
    behind = wall(picture, head, HeadColours(SKIN, HAIR, HAIR[None], 0.03))
    shown = np.ones((SIDE, SIDE), bool)
    assert hanging_hair(picture, shown, behind, GRID[..., 1], GRID[..., 0], rows=(50, 50)).max() < 0.05


def test_a_dark_wall_is_neither_hair_nor_taken_for_hair_that_hangs():
    dark = torch.tensor([0.12, 0.12, 0.2])  # nearer to the hair than to the skin, and neither
    picture, head = scene(behind=dark)
    picture[15:90, 30:40] = SKIN
    picture[10:, 20:30] = dark
    behind = wall(
        picture, head, HeadColours(SKIN, torch.tensor([0.15, 0.45, 0.35]), torch.tensor([[0.15, 0.45, 0.35]]), 0.03)
    )
    hair = behind.hair_before(picture, GRID[..., 1], GRID[..., 0])
    assert behind.told
    assert hair[:, :28].max() < 0.05
    assert hanging_share(hair, head, 50) < 0.05


def test_the_share_of_hair_beside_the_neck_is_that_of_the_fuller_side():
    picture, head = scene()
    behind = wall(picture, head, HeadColours(SKIN, HAIR, HAIR[None], 0.03))
    hair = behind.hair_before(picture, GRID[..., 1], GRID[..., 0])
    assert hanging_share(hair, head, 50) > 0.8
    assert hanging_share(hair.flip(0) * 0, head, 50) == 0
    assert hanging_share(hair, np.zeros_like(head), 50) == 0


def test_narrow_gaps_between_hair_and_head_are_closed_and_wide_ones_are_not():
    head = np.zeros((SIDE, SIDE), bool)
    head[20:, 40:60] = True
    hair = torch.zeros(SIDE, SIDE, 1)
    hair[:, 30:36] = 1  # 4 pixels beside the head
    hair[:, 80:85] = 1  # 20 pixels
    strands = WALL.expand(SIDE, SIDE, 3).clone()
    strands[hair[..., 0] > 0] = HAIR
    colours, sure = closed_up(strands, hair, head)
    assert sure[25:95, 30:41].min() > 0.9
    assert torch.allclose(colours[25:95, 36:40], HAIR.expand(70, 4, 3), atol=0.01)
    assert sure[:, 62:78].max() == 0
    assert torch.equal(sure[:18], hair[:18])  # no head there
    bare, nothing = closed_up(strands, hair * 0, head)
    assert torch.equal(bare, strands)
    assert nothing.max() == 0


def test_the_wall_is_distinguished_from_the_head():
    picture, head = scene()
    behind = wall(picture, head, HeadColours(SKIN, HAIR, HAIR[None], 0.03))
    seen = behind.shows(picture, GRID[..., 1], GRID[..., 0])
    assert seen[12:14, 45:65].all()  # on the fitted skull's outline; the person's own is lower
    assert not seen[20:80, 20:70].any()
    skin = behind.skin_before(picture)
    assert skin[20:80, 42:68].all()
    assert not skin[:, :40].any()


def test_what_hangs_is_looked_up_moved_as_one():
    head = np.zeros((SIDE, SIDE), bool)
    head[20:80, 30:70] = True
    base = GRID.astype(float)
    places = base + np.where(GRID[..., :1] < 50, [12.0, -3.0], [0.0, 0.0])
    facing = np.where(GRID[..., 0] < 50, 0.8, -0.2)
    assert np.allclose(hanging_places(head, places, facing, base, 50), base + [12.0, -3.0])
    assert hanging_places(head, places, np.full((SIDE, SIDE), -0.5), base, 50) is None

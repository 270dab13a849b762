"""Contact sheets."""

import numpy as np
import torch

from lssl.data.sheet import draw_sheet, labelled_grid

RED, BLUE = (np.full((32, 32, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))


def test_pictures_stand_where_they_should() -> None:
    page = np.asarray(draw_sheet([[RED, BLUE], [BLUE]], tile=32))
    assert page.shape == (64, 64, 3)
    assert (page[:32, :32] == RED).all()
    assert (page[:32, 32:] == BLUE).all()
    assert (page[32:, :32] == BLUE).all()
    assert (page[32:, 32:] == 255).all(), "a shorter row ends in white"


def test_text_has_room_of_its_own() -> None:
    texts = {
        "heading": "all", "columns": ["a", "b"], "titles": ["t"], "labels": ["l\nm"], "captions": [["c\nd", "e" * 99]]
    }  # fmt: skip
    page = np.asarray(draw_sheet([[RED, BLUE]], tile=32, gap=4, **texts)).astype(int)
    reds = (page == (255, 0, 0)).all(2)
    assert reds.sum() == 32 * 32, "no text stands on a picture"
    bare = draw_sheet([[RED, BLUE]], tile=32, gap=4)
    assert page.shape[0] > bare.height
    assert page.shape[1] > bare.width


def test_small_pictures_are_enlarged_and_labels_keep_their_edges() -> None:
    labels = np.array([[0, 200], [100, 50]], np.uint8)
    page = np.asarray(draw_sheet([[labels]], smooth=False))
    assert page.shape == (128, 128, 3)
    assert set(np.unique(page)) == {0, 50, 100, 200}


def test_labelled_grid_has_a_column_a_name() -> None:
    images = torch.from_numpy(np.stack([RED, BLUE])).permute(0, 3, 1, 2)
    grid = labelled_grid([images, images, images], ["x", "y", "z"])
    assert grid.width == 3 * 128
    assert grid.height == 2 * 128 + 20

"""A seam is a step that was not there before."""

import numpy as np
import pytest

from lssl.evaluation.measures.seams import steps_along_border


@pytest.fixture
def picture() -> np.ndarray:
    return np.repeat(np.arange(40, dtype=np.uint8)[None, :, None] * 2, 30, 0).repeat(3, 2)


def test_a_patch_leaves_a_step_and_a_soft_change_hardly_one(picture) -> None:
    hard, soft = picture.copy(), picture.astype(float)
    hard[10:20, 10:30] += 40
    y, x = np.mgrid[:30, :40]
    weight = np.clip(1 - np.hypot((y - 15) / 12, (x - 20) / 16), 0, 1)
    soft = np.clip(soft + 40 * weight[..., None], 0, 255).astype(np.uint8)
    made, before = steps_along_border(hard, picture)
    assert before == pytest.approx(2 * 20 / 60)  # along the two upright sides there is the picture's own slope
    assert made > 38
    made, before = steps_along_border(soft, picture)
    assert made - before < 2


def test_nothing_changed_and_other_shapes(picture) -> None:
    assert np.isnan(steps_along_border(picture, picture)).all()
    with pytest.raises(ValueError, match="one shape"):
        steps_along_border(picture, picture[1:])

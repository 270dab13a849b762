import numpy as np
import pytest

from lssl.evaluation.measures.movement import PARTS, face_shape, movements


def turned(points, degrees, scale, shift):
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (scale * points @ turn.T + shift).astype(np.float32)


def faces(drawn, count):
    return np.stack([drawn.face(50 + k, (120 + 3 * k, 90 - k)) for k in range(count)])


def test_a_known_smile_moves_by_what_it_was_moved(drawn):
    before = faces(drawn, 5)
    after = np.stack([drawn.smiling(points, 0.08, 0.12, 0.06) for points in before])
    moved = dict(zip(PARTS, (face_shape(after) - face_shape(before)).mean(0), strict=True))
    assert moved["lift"] == pytest.approx(0.08, abs=1e-4)
    # The corners still lie at one height, so the width is what was added.
    assert moved["width"] == pytest.approx(0.12, abs=1e-4)
    assert moved["opening"] == pytest.approx(0.06, abs=1e-4)
    assert moved["brows"] == pytest.approx(0, abs=1e-6)
    assert moved["eyes"] == pytest.approx(0, abs=1e-6)


def test_size_tilt_and_place_do_not_count(drawn):
    points = drawn.smiling(drawn.face(), 0.05, 0.1, 0.02)
    assert np.allclose(face_shape(turned(points, 20, 1.7, [40, -9])), face_shape(points), atol=1e-4)


def test_the_ratio_is_of_each_persons_own_real_movement(drawn):
    before = faces(drawn, 7)
    real = np.stack([drawn.smiling(p, 0.04 + 0.01 * k, 0.1, 0.03) for k, p in enumerate(before)])
    made = np.stack([drawn.smiling(p, 1.5 * (0.04 + 0.01 * k), 0.05, 0.09) for k, p in enumerate(before)])
    found = {moved.part: moved for moved in movements(before, made, real, real)}
    assert found["lift"].ratio == pytest.approx(1.5, abs=0.01)
    assert found["width"].ratio == pytest.approx(0.5, abs=0.01)
    assert found["opening"].ratio == pytest.approx(3.0, abs=0.02)
    assert found["lift"].people == 7
    assert np.isnan(found["brows"].ratio)  # a class that does not move the brows


def test_people_who_hardly_move_give_no_ratio_and_people_without_a_real_picture_are_left_out(drawn):
    before = faces(drawn, 6)
    real = np.stack([drawn.smiling(p, 0.05, 0.1, 0.04 if k < 4 else 0.0) for k, p in enumerate(before)])
    made = np.stack([drawn.smiling(p, 0.05, 0.1, 0.04) for p in before])
    real[0] = np.nan
    found = {moved.part: moved for moved in movements(before, made, real, real[1:])}
    assert found["opening"].people == 3
    assert found["opening"].ratio == pytest.approx(1, abs=0.02)
    assert found["lift"].people == 5


def test_without_the_same_persons_picture_the_class_is_the_measure(drawn):
    before = np.stack([drawn.face()] * 5)
    made = np.stack([drawn.smiling(p, 0.1, 0.1, 0.1) for p in before])
    others = np.stack([drawn.smiling(p, 0.05, 0.1, 0.2) for p in faces(drawn, 9)])
    found = {moved.part: moved for moved in movements(before, made, None, others)}
    assert found["lift"].ratio == pytest.approx(2, abs=0.02)
    assert found["opening"].ratio == pytest.approx(0.5, abs=0.02)

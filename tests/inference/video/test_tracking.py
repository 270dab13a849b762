"""Faces followed over frames, and what smooths them."""

from fractions import Fraction

import numpy as np
import pytest
from skimage.data import astronaut

from lssl.data import detect
from lssl.inference.video.frames import Frame
from lssl.inference.video.smoothing import OneEuro
from lssl.inference.video.tracking import FaceTracker, FollowedFace, eased, follow

needs_dlib = pytest.mark.skipif(not detect.available(), reason="dlib is not installed")


@needs_dlib
def test_a_moving_face_is_followed_as_if_it_were_searched_in_every_frame():
    whole = astronaut()[:256, 90:420]
    frames = [np.ascontiguousarray(whole[:, 48 - 4 * k : 48 - 4 * k + 280]) for k in range(12)]
    tracker = FaceTracker()
    for number, image in enumerate(frames):
        faces, _ = tracker(image, Fraction(number, 25))
        assert [face.number for face in faces] == [0]
        if number % 4 == 3:
            (found,) = detect.find_faces(image)
            unit = np.linalg.norm(found.landmarks[36:42].mean(0) - found.landmarks[42:48].mean(0))
            assert np.linalg.norm(faces[0].landmarks - found.landmarks, axis=1).mean() < 0.09 * unit
    assert tracker.searches == 1


def test_the_filter_is_the_one_euro_filter():
    """Casiez et al. 2012: smoothing by a cutoff that rises with the speed; a first value passes as it is."""
    filter_ = OneEuro(slowest=1.0, gain=0.0, derivative=1.0)
    first = filter_(np.zeros((1, 2)), 0.0)
    second = filter_(np.ones((1, 2)), 0.1)
    share = 1 / (1 + 1 / (2 * np.pi * 1.0) / 0.1)
    assert first.tolist() == [[0, 0]]
    np.testing.assert_allclose(second, share)
    quick = OneEuro(slowest=1.0, gain=50.0, derivative=1.0)
    quick(np.zeros((1, 2)), 0.0)
    assert (quick(np.ones((1, 2)), 0.1) > second).all()


class Script:
    """A tracker with prescribed results."""

    def __init__(self, seen):
        self.seen = seen

    def __call__(self, image, time):
        marks = np.zeros((68, 2), np.float32)
        shown = self.seen[int(time * 10)]
        return ([FollowedFace(0, marks)] if shown != "-" else []), ({0} if shown == "?" else set())


def test_a_face_that_comes_fades_in_and_one_that_is_lost_fades_out_before():
    seen = "--aaaaaaa??-----"
    image = np.zeros((4, 4, 3), np.uint8)
    frames = (Frame(image, Fraction(k, 10)) for k in range(len(seen)))
    shown = [faces[0].strength if faces else 0 for _, faces in follow(frames, Script(seen), Fraction(10), fade=0.3)]
    assert len(shown) == len(seen)
    assert shown[:3] == pytest.approx([0, 0, 0])
    assert shown[5] == 1
    assert shown[3] < shown[4] < shown[5]
    assert shown[9:] == [0] * (len(seen) - 9)  # first uncertain, then gone
    assert shown[8] < shown[7] <= 1


def test_easing():
    assert [eased(t) for t in (-1, 0, 0.5, 1, 2)] == [0, 0, 0.5, 1, 1]

"""Whole clips through the built-in generators."""

from fractions import Fraction
from threading import Event

import numpy as np
import pytest
from PIL import Image
from skimage import data

from lssl.data import detect
from lssl.inference.editor import FaceEditor
from lssl.inference.model_edit import ModelEditor
from lssl.inference.synthesis import parse_targets
from lssl.inference.video.face_edits import face_edits
from lssl.inference.video.frames import Clip, Frame, open_clip
from lssl.inference.video.key_frames import EditedFrame, KeyFrame, between_keys, keys_ahead
from lssl.inference.video.morph import PHOTOGRAPH, MorphOptions, check_stops, morph
from lssl.inference.video.synthesis import synthesize_clip
from lssl.inference.video.writing import ClipFile

pytestmark = pytest.mark.skipif(not detect.available(), reason=detect.EXTRA_MISSING)
FACE = np.ascontiguousarray(data.astronaut()[:240, 100:340])


def clip_of(images):
    frames = (Frame(image, Fraction(k, 10)) for k, image in enumerate(images))
    height, width = images[0].shape[:2]
    return Clip("a", None, (width, height), Fraction(10), len(images), Fraction(1, 10), frames)


def edits():
    model = ModelEditor.load()
    return face_edits(model, parse_targets(model.schema, ["surprised"], [1.0])[0], {})


class Collector:
    """A face edit that keeps its frames from before they are encoded."""

    def __init__(self, inner):
        self.inner, self.made = inner, []

    def key(self, image, landmarks):
        return self.inner.key(image, landmarks)

    def apply(self, *arguments):
        self.made.append(self.inner.apply(*arguments))
        return self.made[-1]


def test_a_still_clip_stays_still_and_the_surroundings_are_untouched(tmp_path):
    collector = Collector(edits())
    report = synthesize_clip(clip_of([FACE] * 5), tmp_path / "a.webp", collector, workers=1)
    assert (report.frames, report.edited, report.without) == (5, 5, [])
    first, *rest = collector.made
    for other in rest:
        assert np.array_equal(first, other)
    assert np.array_equal(first[:20], FACE[:20])
    assert np.abs(first.astype(int) - FACE).max() > 40


def test_frames_without_a_face_pass_unchanged_and_are_counted(tmp_path):
    report = synthesize_clip(clip_of([np.full_like(FACE, 90)] * 3), tmp_path / "a.gif", edits())
    assert (report.frames, report.edited, report.faces) == (3, 0, 0)
    assert report.without == [(0.0, 0.3)]
    assert len(open_clip(tmp_path / "a.gif").durations) >= 1


def test_key_frames_come_a_group_before_the_frames_that_need_them():
    clip = clip_of([FACE] * 15)
    frames = [(frame, []) for frame in clip.frames]
    planned = list(keys_ahead(between_keys(iter(frames), edits())))
    assert [job.frame.time for job in planned if isinstance(job, EditedFrame)] == [frame.time for frame, _ in frames]
    keys = [place for place, job in enumerate(planned) if isinstance(job, KeyFrame)]
    assert len(keys) >= 3
    for key, following in zip(keys, keys[1:], strict=False):
        end_at_it = [p for p, job in enumerate(planned) if isinstance(job, EditedFrame) and job.after is planned[key]]
        assert key < following < min(end_at_it)


def test_ctrl_c_ends_after_the_frames_in_work(tmp_path):
    stop = Event()
    clip = clip_of([np.full_like(FACE, 10 * k) for k in range(20)])
    clip.path = tmp_path / "source.gif"
    report = synthesize_clip(clip, tmp_path / "a.gif", edits(), stop=stop, progress=stop.set)
    assert report.stopped
    assert report.path == tmp_path / "a.partial.gif"
    assert report.path.exists()
    assert not (tmp_path / "a.gif").exists()


def test_a_morph_goes_there_and_back(tmp_path):
    editor = FaceEditor("3d")
    stops = check_stops(editor, ["surprised"])
    assert stops == [PHOTOGRAPH, "surprised"]
    clip = morph(editor, editor.open(FACE), stops, MorphOptions(seconds=0.2, hold=0.1, rate=10), "a")
    made = list(clip.frames)
    assert len(made) == clip.count == 4
    assert np.array_equal(made[0].image, FACE)
    change = [float(np.abs(frame.image.astype(int) - FACE).mean()) for frame in made]
    assert change[2] > change[1] > 0
    assert change[1] == pytest.approx(change[3])
    with ClipFile(tmp_path / "a.gif", clip) as file:
        for frame in made:
            file.write(frame)
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.info["loop"] == 0

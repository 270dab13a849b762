"""Moving pictures read, changed and written: times, sound, what is left of a run that was stopped."""

import sys
import threading
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from skimage.data import astronaut

import lssl
from lssl.cli.main import main
from lssl.data import detect
from lssl.errors import LsslError
from lssl.inference.video.frames import Clip, Frame, is_moving, open_clip
from lssl.inference.video.morph import MorphOptions, morph
from lssl.inference.video.synthesis import synthesize_clip
from lssl.inference.video.writing import ClipFile

needs_dlib = pytest.mark.skipif(not detect.available(), reason="dlib is not installed")
FRAMES, RATE = 12, 24


class Brighter:
    """A visible edit: the face's box, brighter by 60."""

    def key(self, image, landmarks):
        return 60

    def apply(self, image, landmarks, before, after, share, strength):
        image = image.copy()
        (left, top), (right, bottom) = landmarks.min(0).astype(int), landmarks.max(0).astype(int)
        box = image[top:bottom, left:right]
        box[:] = np.clip(box.astype(int) + round(before * strength), 0, 255)
        return image


def pictures(count=FRAMES):
    """The astronaut, going to the right by three pixels a frame."""
    whole = astronaut()[:256, 90:420]
    return [np.ascontiguousarray(whole[:, 36 - 3 * k : 36 - 3 * k + 280]) for k in range(count)]


def clip_of(images, path=None, rate=RATE):
    height, width = images[0].shape[:2]
    frames = (Frame(image, Fraction(k, rate)) for k, image in enumerate(images))
    return Clip("made", path, (width, height), Fraction(rate), len(images), Fraction(1, rate), frames)


@pytest.fixture
def movie(tmp_path):
    """An MP4 with a tone."""
    av = pytest.importorskip("av", reason="PyAV is not installed")
    path = tmp_path / "movie.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=RATE)
        video.width, video.height, video.pix_fmt, video.bit_rate = 280, 256, "yuv420p", 4_000_000
        sound = container.add_stream("aac", rate=44100)
        for image in pictures():
            for packet in video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        tone = np.sin(np.arange(22050) * 440 * 2 * np.pi / 44100).astype(np.float32)[None]
        samples = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        samples.sample_rate, samples.pts = 44100, 0
        for packet in (*sound.encode(samples), *sound.encode(None), *video.encode(None)):
            container.mux(packet)
    return path


@needs_dlib
def test_a_video_keeps_its_frames_times_and_sound_and_only_its_face_changes(movie, tmp_path):
    out = tmp_path / "out.mp4"
    report = synthesize_clip(open_clip(movie), out, Brighter(), workers=1)
    assert (report.frames, report.edited, report.faces) == (FRAMES, FRAMES, 1)
    assert report.searches <= 2  # detections in the whole frame; between them the face is tracked
    before, after = list(open_clip(movie).frames), list(open_clip(out).frames)
    assert [frame.time for frame in after] == pytest.approx([frame.time for frame in before], abs=1e-3)
    assert open_clip(out).sounds == open_clip(movie).sounds == ("aac",)
    change = np.abs(after[6].image.astype(int) - before[6].image).mean(2)
    assert change[100:160, 110:170].mean() > 20  # the face
    assert change[:, :50].mean() < 6  # coded again
    assert not list(tmp_path.glob("*.partial*"))


@needs_dlib
def test_a_clip_that_stands_still_does_not_flicker(tmp_path):
    still = pictures(1) * 6
    out = tmp_path / "still.webp"
    synthesize_clip(clip_of(still), out, Brighter(), workers=1)
    with Image.open(out) as picture:
        assert getattr(picture, "n_frames", 1) == 1 or picture.n_frames == 6
        shown = []
        for number in range(getattr(picture, "n_frames", 1)):
            picture.seek(number)
            shown.append(np.asarray(picture.convert("RGB")).astype(int))
    assert max(np.abs(one - shown[0]).max() for one in shown) <= 2


@needs_dlib
def test_frames_without_a_face_stay_as_they_are_and_are_counted(tmp_path):
    nothing = np.full((256, 280, 3), 90, np.uint8)
    report = synthesize_clip(clip_of([nothing] * 5), tmp_path / "out.gif", Brighter(), workers=1)
    assert report.edited == 0
    assert report.without == [(0.0, pytest.approx(5 / RATE, abs=1e-2))]


@needs_dlib
def test_what_was_stopped_has_another_name_and_plays(movie, tmp_path):
    stop, seen = threading.Event(), []

    def progress():
        seen.append(1)
        if len(seen) == 4:
            stop.set()

    report = synthesize_clip(
        open_clip(movie), tmp_path / "out.mp4", Brighter(), workers=1, progress=progress, stop=stop
    )
    assert report.stopped
    assert report.path == tmp_path / "out.partial.mp4"
    assert not (tmp_path / "out.mp4").exists()
    assert len(list(open_clip(report.path).frames)) == report.frames > 0


def test_nothing_half_lies_under_a_files_own_name(tmp_path):
    def fail():
        with ClipFile(tmp_path / "out.gif", clip_of(pictures(2))) as file:
            file.write(Frame(pictures(1)[0], Fraction(0)))
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animations_keep_their_durations_and_go_round(suffix, tmp_path):
    path, durations = tmp_path / f"a{suffix}", [40, 120, 80]
    first, *rest = (Image.fromarray(image) for image in pictures(3))
    first.save(path, save_all=True, append_images=rest, duration=durations, loop=0)
    assert is_moving(path)
    clip = open_clip(path)
    assert clip.durations == tuple(durations)
    frames = list(clip.frames)
    assert [float(frame.time) for frame in frames] == [0, 0.04, 0.16]
    again = tmp_path / f"b{suffix}"
    with ClipFile(again, open_clip(path)) as file:
        for frame in frames:
            file.write(frame)
    assert open_clip(again).durations == tuple(durations)
    assert open_clip(again).loop == 0


def test_what_is_no_video_is_refused_by_its_name(tmp_path):
    pytest.importorskip("av", reason="PyAV is not installed")
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"not a video" * 100)
    with pytest.raises(LsslError, match=r"broken.mp4 is not a video"):
        open_clip(path)
    result = CliRunner().invoke(main, ["synthesize", "london", str(path), "--to", "happy", "-o", str(tmp_path / "o")])
    assert result.exit_code == 1
    assert "is not a video that can be read" in result.output


def test_a_pyav_that_is_too_old_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", SimpleNamespace(VideoFrame=object, __version__="13.0.0"))
    (tmp_path / "a.mp4").write_bytes(b"a video")
    with pytest.raises(LsslError, match=r"PyAV 13\.0\.0 is too old for videos: pip install -U 'av>=17'"):
        open_clip(tmp_path / "a.mp4")


def test_a_still_gif_is_a_photograph(tmp_path):
    path = tmp_path / "one.gif"
    Image.fromarray(pictures(1)[0]).save(path)
    assert not is_moving(path)


@needs_dlib
def test_a_morph_goes_from_the_photograph_to_the_expression_and_back(tmp_path):
    editor = lssl.FaceEditor("london")
    options = MorphOptions(seconds=0.5, hold=0.25, rate=8)
    clip = morph(editor, editor.open(pictures(1)[0]), ["photo", "neutral"], options, "photo")
    frames = list(clip.frames)
    away = [np.abs(frame.image.astype(int) - pictures(1)[0]).mean() for frame in frames]
    assert clip.count == len(frames) == 10
    assert [float(8 * frame.time) for frame in frames] == list(range(10))
    assert away[0] == away[1] == 0  # held
    assert away[5] == away[6] > 0  # held, too
    assert all(k > 0 for k in away[2:])
    steps = [np.abs(a.image.astype(int) - b.image).mean() for a, b in zip(frames[2:6], frames[3:7], strict=True)]
    assert max(steps) < 1  # no jump on the way


@needs_dlib
@pytest.mark.parametrize("model", ["london", "3d"])
@pytest.mark.parametrize(("stops", "source"), [(["photo", "happy"], None), (["happy", "neutral"], "happy")])
def test_a_morph_grows_out_of_a_photograph_that_smiles_already(model, stops, source):
    """The astronaut smiles: starting from a neutral y would close her mouth in the first frame."""
    image = np.ascontiguousarray(astronaut()[:256, 90:370])
    editor = lssl.FaceEditor(model)
    options = MorphOptions(seconds=1, hold=0, rate=8, loop=False)
    clip = morph(editor, editor.open(image, source=source), stops, options, "photo")
    frames = [frame.image for frame in clip.frames]
    assert np.array_equal(frames[0], image)
    steps = [float(np.abs(a.astype(int) - b).mean()) for a, b in zip(frames, frames[1:], strict=False)]
    assert steps[0] <= 0.2, "the first step is no jump"


@needs_dlib
def test_the_command_morph_writes_a_file_and_knows_the_models_words(tmp_path):
    photo, out = tmp_path / "photo.png", tmp_path / "morph.gif"
    Image.fromarray(pictures(1)[0]).save(photo)
    options = ["--fps", "4", "--seconds", "0.5", "--hold", "0.25", "--quiet", "-o", str(out)]
    result = CliRunner().invoke(main, ["morph", "london", str(photo), "--through", "photo,happy", *options])
    assert result.exit_code == 0, result.output
    with Image.open(out) as picture:
        assert picture.n_frames >= 3
        assert picture.info["loop"] == 0
    wrong = CliRunner().invoke(main, ["morph", "london", str(photo), "--through", "furious", *options])
    assert wrong.exit_code == 1
    assert "furious" in wrong.output

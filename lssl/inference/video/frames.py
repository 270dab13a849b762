"""Reads videos and animations as frames with times: video files and cameras with PyAV, GIF and WebP with Pillow."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lssl.data.portrait import existing_path
from lssl.errors import LsslError

EXTRA_MISSING = "video needs PyAV: pip install 'lssl[video]' (or pip install av); GIF and WebP do without"
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
ANIMATION_SUFFIXES = (".gif", ".webp")
_CAMERA = re.compile(r"camera(?::(.+))?")
_CLOCKED = ("video4linux2,v4l2", "v4l2", "avfoundation", "dshow")  # devices whose times do not begin at 0
# The audio codecs that an MP4 file may hold; Matroska takes any.
_MP4_SOUND = ("aac", "mp3", "mp2", "ac3", "eac3", "opus", "flac", "alac")
_MILLISECOND = Fraction(1, 1000)
_UNSAID = 100  # milliseconds that viewers show a frame whose duration is missing or under 20


@dataclass(frozen=True)
class Frame:
    """image: uint8 RGB (H, W, 3), upright. time: seconds from the clip's beginning. alpha: uint8 (H, W), if there is any."""

    image: NDArray[np.uint8]
    time: Fraction
    alpha: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Colours:
    """How a video encodes colours, as numbers of ITU-T H.273; 2 is unspecified."""

    matrix: int = 2
    primaries: int = 2
    transfer: int = 2


@dataclass
class Clip:
    """A video or animation; its frames can be read once.

    name: the file's stem. path: None for a camera. rate: average frames per second. count: number of frames, if known.
    tick: frame times are multiples of it, in seconds. loop: how often an animation is shown; 0: for ever, None: once.
    durations: of an animation's frames, in milliseconds.
    """

    name: str
    path: Path | None
    size: tuple[int, int]  # width, height, upright
    rate: Fraction
    count: int | None
    tick: Fraction
    frames: Iterator[Frame]
    colours: Colours = Colours()
    pixel_shape: Fraction = Fraction(1)
    loop: int | None = None
    durations: tuple[int, ...] = ()
    sounds: tuple[str, ...] = ()  # codecs

    @property
    def suffix(self) -> str:
        """The suffix of a file that can hold what this clip holds: its own, if lssl writes such files, else .mp4 or .mkv."""
        own = "" if self.path is None else self.path.suffix.lower()
        if own in (".mov", ".mkv", *ANIMATION_SUFFIXES):
            return own
        return ".mkv" if self.unfit_for(".mp4") else ".mp4"

    def unfit_for(self, suffix: str) -> str:
        """The first of the clip's audio codecs that a file of this suffix cannot hold; '' if there is none."""
        if suffix not in (".mp4", ".m4v"):
            return ""
        return next((codec for codec in self.sounds if codec not in _MP4_SOUND), "")


def is_camera(name: str | Path) -> bool:
    return _CAMERA.fullmatch(str(name)) is not None and not Path(name).exists()


def is_moving(path: Path) -> bool:
    """Whether an argument means a moving picture: a camera, a video, or a GIF or WebP file with several frames."""
    if is_camera(path) or path.suffix.lower() in VIDEO_SUFFIXES:
        return True
    if path.suffix.lower() not in ANIMATION_SUFFIXES or not path.is_file():
        return False
    try:
        with Image.open(path) as picture:
            return getattr(picture, "n_frames", 1) > 1
    except (OSError, ValueError, SyntaxError):
        return False  # reported when it is read as a photograph


def open_clip(path: Path) -> Clip:
    """Opens a camera (`camera`, `camera:1`, `camera:/dev/video2`), a video, or an animation.

    Raises LsslError naming the file and what is wrong with it.
    """
    if is_camera(path):
        return _camera(str(path))
    path = existing_path(path)
    return _animation(path) if path.suffix.lower() in ANIMATION_SUFFIXES else _video(path)


def import_av() -> Any:
    """PyAV. Raises LsslError saying how to install it, or a version that tells how a frame is turned and coloured."""
    try:
        import av
    except ImportError:
        raise LsslError(EXTRA_MISSING) from None
    if not hasattr(av.VideoFrame, "color_primaries"):
        raise LsslError(
            f"PyAV {av.__version__} is too old for videos: pip install -U 'av>=17'; GIF and WebP do without"
        )
    av.logging.set_level(av.logging.FATAL)
    return av


def _video(path: Path) -> Clip:
    av = import_av()
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LsslError(f"{path} is not a video that can be read ({reason})") from None
    return _clip(container, path.stem, path)


def _clip(container: Any, name: str, path: Path | None) -> Clip:
    if not container.streams.video:
        container.close()
        raise LsslError(f"{path or name} holds no moving picture, only {_kinds(container)}")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    frames = _decoded(container, stream, path or Path(name))
    try:
        first, turn, colours = next(frames)
    except StopIteration:
        container.close()
        raise LsslError(f"{path or name} holds no frame that can be decoded; is it cut off?") from None
    height, width = first.image.shape[:2]

    def all_frames() -> Iterator[Frame]:
        with container:
            yield first
            for frame, _, _ in frames:
                yield frame

    shape = stream.sample_aspect_ratio or Fraction(1)
    count = stream.frames or _counted(container, stream, rate)
    return Clip(
        name, path, (width, height), Fraction(rate), count if path else None, Fraction(stream.time_base), all_frames(),
        colours, 1 / shape if turn % 180 else shape,
        sounds=tuple(stream.codec_context.name for stream in container.streams.audio) if path else (),
    )  # fmt: skip


def _kinds(container: Any) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"


def _counted(container: Any, stream: Any, rate: Fraction) -> int | None:
    if stream.duration:
        return round(stream.duration * stream.time_base * rate)
    return round(container.duration / 1_000_000 * rate) if container.duration else None


def _decoded(container: Any, stream: Any, path: Path) -> Iterator[tuple[Frame, int, Colours]]:
    """The frames, upright, each with the rotation in degrees that made it so, and how its colours are encoded. Frames that
    cannot be decoded are left out, as players do."""
    av = import_av()
    start: Fraction | None = None
    last = Fraction(-1)
    step = 1 / Fraction(stream.average_rate or 25)
    broken = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            decoded = packet.decode()
        except (av.error.FFmpegError, OSError) as error:
            if isinstance(error, av.error.EOFError):
                return
            broken += 1
            if broken > 100:
                raise LsslError(
                    f"{path} cannot be decoded ({getattr(error, 'strerror', error)}); is it cut off?"
                ) from None
            continue
        for picture in decoded:
            said = picture.pts is not None
            time = Fraction(picture.pts) * Fraction(picture.time_base or stream.time_base) if said else last + step
            if container.format.name not in _CLOCKED:
                start = Fraction(0)
            elif start is None:
                start = time  # a camera's clock starts with the machine
            time -= start
            if time <= last:
                continue
            last = time
            turn = round(picture.rotation) % 360
            colours = Colours(int(picture.colorspace), int(picture.color_primaries), int(picture.color_trc))
            image = picture.to_ndarray(format="rgb24")
            yield Frame(np.ascontiguousarray(np.rot90(image, turn // 90)), time), turn, colours


def _camera(name: str) -> Clip:
    av = import_av()
    device, layout = camera_device(name)
    try:
        container = av.open(device, format=layout)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LsslError(
            f"the camera {device} cannot be opened ({reason}): check that it is plugged in, not in use, and that you may "
            "use it; name another one as camera:1"
        ) from None
    return _clip(container, "camera", None)


def camera_device(name: str) -> tuple[str, str]:
    """FFmpeg's name and device format for the camera `camera`, `camera:N` or `camera:NAME`."""
    match = _CAMERA.fullmatch(name)
    asked = (match.group(1) if match else None) or "0"
    if sys.platform == "darwin":
        return asked, "avfoundation"
    if sys.platform == "win32":
        return f"video={asked}", "dshow"
    return f"/dev/video{asked}" if asked.isdigit() else asked, "v4l2"


def _animation(path: Path) -> Clip:
    try:
        picture = Image.open(path)
        count = int(getattr(picture, "n_frames", 1))
        picture.seek(0)
        picture.load()
        durations = []
        for number in range(count):
            picture.seek(number)
            if picture.format == "WEBP":
                picture.load()  # sets the duration
            said = int(picture.info.get("duration") or 0)
            durations.append(said if said >= 20 else _UNSAID)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise LsslError(f"{path} is not an animation that can be read ({error})") from None
    looped = picture.info.get("loop") if count > 1 else None
    rate = Fraction(1000 * count, sum(durations))
    return Clip(
        path.stem, path, picture.size, rate, count, _MILLISECOND, _animation_frames(path, picture, durations),
        loop=looped, durations=tuple(durations),
    )  # fmt: skip


def _animation_frames(path: Path, picture: Image.Image, durations: list[int]) -> Iterator[Frame]:
    time = 0
    with picture:
        for number, duration in enumerate(durations):
            try:
                picture.seek(number)
                shown = picture.convert("RGBA")
            except (OSError, ValueError, SyntaxError, EOFError) as error:
                raise LsslError(f"{path}: frame {number + 1} of {len(durations)} cannot be read ({error})") from None
            pixels = np.array(shown)
            alpha = pixels[..., 3]
            yield Frame(pixels[..., :3].copy(), time * _MILLISECOND, None if (alpha == 255).all() else alpha)
            time += duration

"""Writes frames to files: H.264 with the source's sound with PyAV, GIF and WebP with Pillow.

Until a file is complete, it has another name (`clip.partial.mp4`), so nothing incomplete appears under its final name. If
writing is stopped, the partial file is closed properly, stays there, and can be played.
"""

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lssl.errors import LsslError
from lssl.inference.video.frames import ANIMATION_SUFFIXES, VIDEO_SUFFIXES, Clip, Colours, Frame, import_av

WRITTEN = (".mp4", ".m4v", ".mov", ".mkv", *ANIMATION_SUFFIXES)
# A quality that the eye cannot tell from the source, and a preset that needs two thirds of a core at 720p.
_ENCODERS = (("libx264", {"crf": "17", "preset": "veryfast"}), ("mpeg4", {"qscale": "3"}))
_SWSCALE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7}  # from H.273's matrix number to PyAV's colour space
_WEBP_QUALITY = 88
_ORDERED = 7.0  # amplitude of the ordered dither of GIFs, in levels: about the step between 256 colours of a face


class Sink(Protocol):
    """What frames are written to."""

    def write(self, frame: Frame) -> None: ...

    def close(self) -> None: ...


class ClipFile:
    """A file of frames, which gets its name once it is complete.

        with ClipFile(path, clip) as file:
            file.write(frame)

    An error removes what was written; after `stop`, or Ctrl-C, a playable file remains at `partial`. clip: gives the size,
    times, colours and sound. Raises LsslError for a format that cannot be written, or that cannot hold the clip's sound.
    """

    def __init__(self, path: Path, clip: Clip) -> None:
        suffix = path.suffix.lower()
        if suffix not in WRITTEN:
            hint = "; write .mp4" if suffix in VIDEO_SUFFIXES else ""
            raise LsslError(f"{path}: videos and animations are written as {', '.join(WRITTEN)}, not '{suffix}'{hint}")
        if clip.path is not None and path.exists() and path.samefile(clip.path):
            raise LsslError(f"{path} is the clip that is read; choose another name for the result")
        if codec := clip.unfit_for(suffix):
            raise LsslError(f"{path}: {codec} sound cannot be copied into {suffix}; write .mkv or .mov")
        self.path, self.partial = path, path.with_name(f"{path.stem}.partial{path.suffix}")
        self.frames, self.stopped = 0, False
        path.parent.mkdir(parents=True, exist_ok=True)
        self._sink: Sink
        if suffix in ANIMATION_SUFFIXES:
            self._sink = _Animation(self.partial, suffix, clip)
        else:
            self._sink = _Video(self.partial, clip)

    def write(self, frame: Frame) -> None:
        self._sink.write(frame)
        self.frames += 1

    def stop(self) -> None:
        """Marks the file as incomplete, so that it keeps its partial name."""
        self.stopped = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        broken = kind is not None and not issubclass(kind, KeyboardInterrupt)
        try:
            if self.frames:
                self._sink.close()
        except BaseException:
            self.partial.unlink(missing_ok=True)
            raise
        if broken or not self.frames:
            self.partial.unlink(missing_ok=True)
        elif kind is None and not self.stopped:
            os.replace(self.partial, self.path)


class _Video:
    def __init__(self, path: Path, clip: Clip) -> None:
        self.av, self.path, self.clip = import_av(), path, clip
        self.tick = clip.tick
        self.last: int | None = None
        self.stream: Any = None
        options = {"movflags": "+faststart"} if path.suffix.lower() != ".mkv" else {}
        try:
            self.container = self.av.open(str(path), "w", options=options)
        except (self.av.error.FFmpegError, OSError, ValueError) as error:
            raise LsslError(f"{path} cannot be written ({getattr(error, 'strerror', None) or error})") from None
        self.sound = _Sound(self.av, clip.path, self.container) if clip.sounds and clip.path is not None else None

    def _begin(self, frame: Frame) -> None:
        name, options = next((name, options) for name, options in _ENCODERS if name in self.av.codecs_available)
        height, width = _even(frame.image).shape[:2]
        self.stream = self.container.add_stream(name, rate=_fitting_rate(self.clip.rate))
        stream = self.stream
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = options
        stream.codec_context.time_base = self.tick
        stream.time_base = self.tick
        stream.codec_context.sample_aspect_ratio = self.clip.pixel_shape
        _tag(stream.codec_context, self.clip.colours)

    def write(self, frame: Frame) -> None:
        if self.stream is None:
            self._begin(frame)
        picture = self.av.VideoFrame.from_ndarray(_even(frame.image), format="rgb24")
        colours = self.clip.colours
        picture = picture.reformat(format="yuv420p", dst_colorspace=_SWSCALE.get(colours.matrix))
        picture.time_base = self.tick
        number = round(frame.time / self.tick)
        picture.pts = number if self.last is None else max(number, self.last + 1)
        self.last = picture.pts
        self._mux(self.stream.encode(picture))
        if self.sound is not None:
            self.sound.write_until(frame.time)

    def close(self) -> None:
        try:
            self._mux(self.stream.encode())
            if self.sound is not None:
                self.sound.write_until(None if self.last is None else (self.last + 1) * self.tick + 1 / self.clip.rate)
        finally:
            if self.sound is not None:
                self.sound.close()
            self.container.close()

    def _mux(self, packets: Sequence[Any]) -> None:
        try:
            self.container.mux(packets)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None


class _Sound:
    """Copies the source's sound packets unchanged, up to one time after another."""

    def __init__(self, av: Any, source: Path, target: Any) -> None:
        self.container = av.open(str(source))
        self.target = target
        self.streams = {}
        for stream in self.container.streams.audio:
            self.streams[stream.index] = target.add_stream_from_template(stream)
        self.packets = self.container.demux(self.container.streams.audio)
        self.waiting: Any = None
        self.av = av

    def write_until(self, time: Fraction | None) -> None:
        """Writes the packets that begin before `time`, seconds."""
        while (packet := self._next()) is not None:
            begins = Fraction(packet.pts if packet.pts is not None else packet.dts) * packet.time_base
            if time is not None and begins > time:
                return
            self.waiting = None
            packet.stream = self.streams[packet.stream.index]
            self.target.mux(packet)

    def _next(self) -> Any:
        while self.waiting is None:
            try:
                packet = next(self.packets, None)
            except self.av.error.FFmpegError:
                packet = None
            if packet is None:
                return None
            self.waiting = packet if packet.dts is not None else None
        return self.waiting

    def close(self) -> None:
        self.container.close()


def _fitting_rate(rate: Fraction) -> Fraction:
    return rate.limit_denominator(100_000)


def _even(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image with even sides, as H.264 needs them: an odd last row or column is repeated."""
    odd = image.shape[0] % 2, image.shape[1] % 2
    return np.pad(image, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge") if any(odd) else np.ascontiguousarray(image)


def _tag(context: Any, colours: Colours) -> None:
    context.colorspace = colours.matrix if colours.matrix in _SWSCALE or colours.matrix == 2 else 1
    context.color_primaries, context.color_trc = colours.primaries, colours.transfer
    context.color_range = 1


class _Animation:
    def __init__(self, path: Path, suffix: str, clip: Clip) -> None:
        self.path, self.suffix, self.clip = path, suffix, clip
        self.frames: list[Frame] = []

    def write(self, frame: Frame) -> None:
        self.frames.append(frame)

    def close(self) -> None:
        if self.suffix == ".gif":
            pictures = _gif_pictures(self.frames)
            options: dict[str, Any] = {"format": "GIF", "disposal": 1, "optimize": False}
            if any(frame.alpha is not None for frame in self.frames):
                options["disposal"] = 2
        else:
            pictures = [_with_alpha(frame) for frame in self.frames]
            options = {"format": "WEBP", "quality": _WEBP_QUALITY, "method": 3}
        options["duration"] = self._durations()
        if self.clip.loop is not None:
            options["loop"] = self.clip.loop
        first, *rest = pictures
        first.save(self.path, save_all=True, append_images=rest, **options)

    def _durations(self) -> list[int]:
        if len(self.clip.durations) >= len(self.frames):
            return list(self.clip.durations[: len(self.frames)])
        times = [1000 * frame.time for frame in self.frames]
        times.append(times[-1] + 1000 / self.clip.rate)
        step = 10 if self.suffix == ".gif" else 1  # GIF counts hundredths of a second
        marks = [step * round(time / step) for time in times]
        return [after - before for before, after in zip(marks, marks[1:], strict=False)]


def _with_alpha(frame: Frame) -> Image.Image:
    if frame.alpha is None:
        return Image.fromarray(frame.image)
    return Image.fromarray(np.dstack([frame.image, frame.alpha]))


def _gif_pictures(frames: Sequence[Frame]) -> list[Image.Image]:
    """Frames with one palette and an ordered dither, so that what does not change between frames stays the same; error
    diffusion would make it flicker."""
    chosen = [frames[round(k)].image for k in np.linspace(0, len(frames) - 1, min(len(frames), 8))]
    sheet = Image.fromarray(np.concatenate([_thinned(image) for image in chosen]))
    clear = any(frame.alpha is not None for frame in frames)
    palette = sheet.quantize(255 if clear else 256, Image.Quantize.MEDIANCUT)
    height, width = frames[0].image.shape[:2]
    pattern = np.tile(_bayer(), (height // 8 + 1, width // 8 + 1))[:height, :width, None] * _ORDERED
    pictures = []
    for frame in frames:
        dithered = np.clip(frame.image + pattern, 0, 255).round().astype(np.uint8)
        picture = Image.fromarray(dithered).quantize(palette=palette, dither=Image.Dither.NONE)
        if frame.alpha is not None:
            picture.paste(255, mask=Image.fromarray((frame.alpha < 128).astype(np.uint8) * 255))
        if clear:
            picture.info["transparency"] = 255
        pictures.append(picture)
    return pictures


def _thinned(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image[:: max(1, image.shape[0] // 400), :: max(1, image.shape[1] // 400)]


def _bayer() -> NDArray[np.float32]:
    """The 8 x 8 matrix of ordered dither (Bayer 1973), from -0.5 to 0.5."""
    pattern = np.zeros((1, 1))
    for _ in range(3):
        pattern = np.block([[4 * pattern, 4 * pattern + 2], [4 * pattern + 3, 4 * pattern + 1]])
    return ((pattern + 0.5) / pattern.size - 0.5).astype(np.float32)

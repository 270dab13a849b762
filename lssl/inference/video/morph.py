"""A clip of one photograph that goes from expression to expression: `lssl morph`."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lssl.data.threads import in_order, processors
from lssl.errors import LsslError
from lssl.inference.editor import FaceEditor, OpenPhotograph
from lssl.inference.video.frames import Clip, Frame
from lssl.inference.video.tracking import eased

#: The word for the photograph's own expression.
PHOTOGRAPH = "photo"
Pixels = NDArray[np.uint8]
Shares = dict[str, float]


@dataclass(frozen=True)
class MorphOptions:
    """seconds: from one stop to the next. hold: seconds at each stop. rate: frames per second. intensity: how far the
    expressions go, 0 to 1.5. loop: return to the first stop, and repeat."""

    seconds: float = 0.7
    hold: float = 0.5
    rate: int = 25
    intensity: float = 1.0
    loop: bool = True


def check_stops(editor: FaceEditor, words: Sequence[str], intensity: float = 1.0) -> list[str]:
    """The stops in order; a single one gets the photograph in front. Raises LsslError for a word that the model does not
    know."""
    stops = [word.strip() for word in words if word.strip()]
    if len(stops) == 1:
        stops = [PHOTOGRAPH, *stops]
    if len(stops) < 2:
        raise LsslError("name the expressions that the face should go through, such as neutral,happy,surprised")
    for word in stops:
        if not _as_it_is(editor, word):
            editor.target(word, intensity)
    return stops


def morph(
    editor: FaceEditor, photograph: OpenPhotograph, stops: Sequence[str], options: MorphOptions, name: str
) -> Clip:
    """The photograph at its own size, going through the stops (values such as "happy", or `PHOTOGRAPH`).

    Returns a clip for `ClipFile`, eased in and out at each stop; its frames are computed as they are read. A stop
    that the photograph was said to show (`source`) is the photograph itself, bit for bit, and the edit of the next stop
    grows from nothing.
    """
    shows = photograph.source.items()
    plan = _plan(
        [{} if _as_it_is(editor, word) or _pairs(editor, word) <= shows else {word: 1.0} for word in stops], options
    )
    height, width = photograph.pixels.shape[:2]
    step = Fraction(1, options.rate)
    return Clip(
        name, None, (width, height), Fraction(options.rate), len(plan), step,
        _frames(photograph, plan, step, options.intensity), loop=0 if options.loop else None,
    )  # fmt: skip


def smaller(image: Pixels, landmarks: NDArray[np.float32], longest: int) -> tuple[Pixels, NDArray[np.float32]]:
    """A photograph (H, W, 3) with its landmarks (68, 2), shrunk if its longer side exceeds `longest` pixels."""
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return image, landmarks
    size = max(1, round(width * scale)), max(1, round(height * scale))
    ratio = np.array(size) / (width, height)
    shrunk = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))
    return shrunk, ((landmarks + 0.5) * ratio - 0.5).astype(np.float32)


def _as_it_is(editor: FaceEditor, word: str) -> bool:
    return word == PHOTOGRAPH and not editor.schema.knows(word)


def _pairs(editor: FaceEditor, word: str) -> AbstractSet[tuple[str, str]]:
    return editor.target(word).shares.keys()


def _plan(stops: Sequence[Shares], options: MorphOptions) -> list[Shares]:
    """For each frame, how far to go to each value."""
    held = max(1, round(options.hold * options.rate))
    moving = max(1, round(options.seconds * options.rate))
    ends = [*stops[1:], stops[0]] if options.loop else [*stops[1:], stops[-1]]
    frames: list[Shares] = []
    for start, end in zip(stops, ends, strict=True):
        frames += [start] * held
        if start is end:
            break
        for k in range(1, moving):
            share = eased(k / moving)
            mixed: Shares = {}
            for shares, part in ((start, 1 - share), (end, share)):
                for word, amount in shares.items():
                    mixed[word] = mixed.get(word, 0.0) + part * amount
            frames.append(mixed)
    return frames


def _frames(photograph: OpenPhotograph, plan: Sequence[Shares], step: Fraction, intensity: float) -> Iterator[Frame]:
    different = [shares for k, shares in enumerate(plan) if k == 0 or shares != plan[k - 1]]
    made = in_order(lambda shares: photograph.edited_pixels(shares, intensity), different, processors())
    image: Pixels = photograph.pixels
    for number, shares in enumerate(plan):
        if number == 0 or shares != plan[number - 1]:
            image = next(made)
        yield Frame(image, number * step)

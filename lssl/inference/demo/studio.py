"""What the page can request: a face changed as its sliders say, thumbnails, a frontal view, the finished photograph."""

import io
import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from lssl.data.align import face_anchors, face_similarity, warp
from lssl.data.portrait import safe_name
from lssl.errors import LsslError
from lssl.inference.demo.models import Editor, Offer, Opened
from lssl.inference.demo.photographs import FindFaces, Photograph, Trouble, View, around, read_upload, seen

DRAFT = 150.0  # pixels: a face's larger extent while a slider moves, which is about the model's own resolution
_AROUND_EDIT = 0.8  # margin on each side of a face, as a share of its larger extent: more than a model's crop needs
_HELD, _OPENED = 3, 24  # how many photographs are kept, and how many faces prepared for edits
_THUMBNAIL, _LARGEST_FRONTAL = 176, 512
_PLAIN_MODES = ("RGB", "RGBA", "L", "LA", "P", "CMYK")


@dataclass(frozen=True)
class Wish:
    """An edit of a face: the model's name, how far to go to each value (0 to 1.5), and what the photograph shows."""

    model: str
    values: Mapping[str, float]
    source: tuple[str, ...] = ()


@dataclass(frozen=True)
class Patch:
    """What an edit changed in a view: a PNG with transparency, and its box (x, y, width, height) in the view's pixels."""

    png: bytes
    box: tuple[float, float, float, float]


class Studio:
    """Holds a few photographs and edits them. Its methods may be called from several threads.

    offers: the models; the first is the page's choice at the start. find_faces: see `FindFaces`.
    """

    def __init__(self, offers: Sequence[Offer], find_faces: FindFaces) -> None:
        self.offers = {offer.name: offer for offer in offers}
        self._find_faces = find_faces
        self._photographs: OrderedDict[str, Photograph] = OrderedDict()
        self._opened: OrderedDict[Hashable, tuple[Opened, View]] = OrderedDict()
        self._frontals: OrderedDict[Hashable, tuple[bytes, str]] = OrderedDict()
        self._lock = threading.RLock()

    def models(self) -> list[dict[str, Any]]:
        """The models to choose from, for JSON. Loads none of them; `describe` does."""
        return [{"name": o.name, "title": o.title, "about": o.about} for o in self.offers.values()]

    def editor(self, model: str) -> Editor:
        """A model's editor, loaded on first use. Raises Trouble for a model that is not offered."""
        return self._offer(model).editor()

    def describe(self, model: str) -> dict[str, Any]:
        """A model's sliders. Raises Trouble for a model that is not offered or cannot be loaded."""
        try:
            return self._offer(model).describe()
        except Trouble:
            raise
        except (LsslError, OSError) as error:
            raise Trouble("This model cannot be loaded.", str(error)) from None

    def take(self, name: str, data: bytes) -> Photograph:
        """Reads an upload and keeps it, in place of the oldest if there are too many. Raises Trouble as `read_upload`."""
        photograph = read_upload(name, data, self._find_faces)
        with self._lock:
            self._photographs[photograph.id] = photograph
            while len(self._photographs) > _HELD:
                self._forget(next(iter(self._photographs)))
        return photograph

    def photograph(self, identity: str, face: int | None = None) -> Photograph:
        """A photograph by its id. Raises Trouble if it is no longer kept, or if it has no such face or one that cannot be
        changed."""
        with self._lock:
            photograph = self._photographs.get(identity)
            if photograph is None:
                raise Trouble("This photograph is no longer open.", "Drop it here again.", status=404)
            self._photographs.move_to_end(identity)
        if face is not None:
            if not 0 <= face < len(photograph.faces):
                raise Trouble("There is no such face in this photograph.", status=404)
            if photograph.reasons[face]:
                raise Trouble(photograph.reasons[face], "Choose another face.")
        return photograph

    def edit(
        self, photograph: Photograph, face: int, view: int | None, wish: Wish, *, draft: bool = False
    ) -> Patch | None:
        """What an edit changes in a view, None if nothing. view: None for the whole photograph, else a face's own view.

        draft: at a reduced size, while a slider moves.
        """
        opened, piece = self._ready(photograph, face, view, wish, draft)
        return _patch(piece, opened.edited_pixels(wish.values))

    def thumbnail(self, photograph: Photograph, face: int, wish: Wish) -> bytes:
        """A small JPEG of an edited face."""
        opened, piece = self._ready(photograph, face, face, wish, True)
        points = piece.place(photograph.view(face).place(photograph.faces[face].landmarks))
        try:
            similarity = face_similarity(face_anchors(points), _THUMBNAIL)
        except LsslError as error:
            raise Trouble(f"This face cannot be shown: {error}.") from None
        after = opened.edited_pixels(wish.values)
        buffer = io.BytesIO()
        Image.fromarray(warp(after, similarity, _THUMBNAIL)).save(buffer, "JPEG", quality=90)
        return buffer.getvalue()

    def finished(self, photograph: Photograph, wishes: Mapping[int, Wish], kind: str) -> tuple[bytes, str]:
        """The photograph at its own size with its faces edited, as bytes of a file, and the file's name.

        wishes: an edit per face. kind: "png" or "jpeg". EXIF and the colour profile are kept.
        """
        picture = _as_stored(photograph)
        for face, wish in wishes.items():
            marks = photograph.faces[face].landmarks
            opened = _opened(self.editor(wish.model), picture, wish, marks)
            picture = opened.edit(wish.values)
        words = [word for wish in wishes.values() for word, share in wish.values.items() if share > 0]
        stem = safe_name("_".join([photograph.name, *dict.fromkeys(words)]))
        return _encoded(picture, kind), f"{stem}.{'jpg' if kind == 'jpeg' else 'png'}"

    def frontal(self, photograph: Photograph, face: int) -> tuple[bytes, str]:
        """A face turned to the front, as a PNG, and why it may look wrong ('' if there is no doubt)."""
        key = (photograph.id, face)
        with self._lock:
            if key in self._frontals:
                return self._frontals[key]
        made = _frontal(photograph, face)
        with self._lock:
            self._frontals[key] = made
            while len(self._frontals) > _OPENED:
                self._frontals.popitem(last=False)
        return made

    def _offer(self, model: str) -> Offer:
        if model not in self.offers:
            raise Trouble(f"There is no model {model!r} here.", status=404)
        return self.offers[model]

    def _ready(
        self, photograph: Photograph, face: int, view: int | None, wish: Wish, draft: bool
    ) -> tuple[Opened, View]:
        """A face prepared for edits, and the part of the view that it was opened with."""
        key = (photograph.id, face, view, wish.model, wish.source, draft)
        with self._lock:
            if key in self._opened:
                self._opened.move_to_end(key)
                return self._opened[key]
        shown = photograph.view(view)
        points = shown.place(photograph.faces[face].landmarks)
        low, high = around(points, _AROUND_EDIT, shown.pixels.shape)
        largest = float((high - low).max())
        if draft:
            largest *= min(1.0, DRAFT / float(np.ptp(points, axis=0).max()))
        piece = seen(shown.pixels, low, high, largest)
        opened = _opened(self.editor(wish.model), piece.pixels, wish, piece.place(points), quick=draft)
        with self._lock:
            self._opened[key] = (opened, piece)
            while len(self._opened) > _OPENED:
                self._opened.popitem(last=False)
        return opened, piece

    def _forget(self, identity: str) -> None:
        del self._photographs[identity]
        for store in (self._opened, self._frontals):
            for key in [key for key in store if isinstance(key, tuple) and key[0] == identity]:
                del store[key]


def _opened(editor: Editor, picture: Any, wish: Wish, landmarks: NDArray[np.float32], *, quick: bool = False) -> Opened:
    """A face prepared for edits; quick: for previews. Raises Trouble if the model cannot take the face or the source."""
    try:
        return editor.open(picture, source=list(wish.source) or None, landmarks=landmarks, quick=quick)
    except LsslError as error:
        text = str(error)
        raise Trouble("This face cannot be changed.", f"{text[:1].upper()}{text[1:]}.") from None


def _patch(piece: View, after: NDArray[np.uint8]) -> Patch | None:
    red, green, blue = (piece.pixels[..., k] != after[..., k] for k in range(3))
    changed = red | green | blue  # numpy's any() along three values takes ten times as long
    if not changed.any():
        return None
    soft = bool((piece.scale < 1).any())
    alpha = Image.fromarray(((_grown(changed, 2) if soft else changed) * 255).astype(np.uint8))
    if soft:  # hides where the lower resolution begins
        alpha = alpha.filter(ImageFilter.GaussianBlur(2))
    left, top, right, bottom = alpha.getbbox() or (0, 0, 1, 1)
    colours = after if soft else np.where(changed[..., None], after, 0).astype(np.uint8)
    picture = Image.fromarray(colours)
    picture.putalpha(alpha)
    buffer = io.BytesIO()
    picture.crop((left, top, right, bottom)).save(buffer, "PNG", compress_level=1)
    x, y = piece.corner + np.array([left, top]) / piece.scale
    width, height = np.array([right - left, bottom - top]) / piece.scale
    return Patch(buffer.getvalue(), (float(x), float(y), float(width), float(height)))


def _grown(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """A mask (H, W) that reaches so many pixels further in each direction: Pillow's filter takes ten times as long."""
    for axis in (0, 1):
        padded = np.pad(mask, [(pixels, pixels) if axis == k else (0, 0) for k in range(2)])
        mask = np.logical_or.reduce([padded.take(range(k, k + mask.shape[axis]), axis) for k in range(2 * pixels + 1)])
    return mask


def _as_stored(photograph: Photograph) -> Image.Image:
    """The picture with its file's metadata; for rare kinds (16 bits, Lab) the pixels only."""
    with Image.open(io.BytesIO(photograph.data)) as image:
        if image.mode not in _PLAIN_MODES:
            return Image.fromarray(photograph.pixels)
        image.load()
        return image.copy()


def _encoded(picture: Image.Image, kind: str) -> bytes:
    about = {name: picture.info[name] for name in ("exif", "icc_profile") if picture.info.get(name)}
    buffer = io.BytesIO()
    if kind == "jpeg":
        plain = picture if picture.mode in ("RGB", "L") else picture.convert("RGB")
        plain.save(buffer, "JPEG", quality=95, subsampling=0, **about)
    else:
        picture.save(buffer, "PNG", compress_level=3, **about)
    return buffer.getvalue()


def _frontal(photograph: Photograph, face: int) -> tuple[bytes, str]:
    import torch

    from lssl.face3d.fitting.fit import fit_landmarks
    from lssl.face3d.frontal.draw import render_frontal
    from lssl.inference.frontalize import DISTANCE, load_model

    view = photograph.view(face)
    points = view.place(photograph.faces[face].landmarks)
    model = load_model(None)
    fit = fit_landmarks(model, torch.from_numpy(points)[None], distance=DISTANCE)
    size = int(np.clip(1.6 * np.ptp(points, axis=0).max(), 192, _LARGEST_FRONTAL)) // 16 * 16
    drawn = render_frontal(model, fit, [view.pixels], size=size, background="original")
    buffer = io.BytesIO()
    Image.fromarray(drawn.image).save(buffer, "PNG")
    return buffer.getvalue(), "; ".join([*(reason for reason in fit.reasons if reason), *drawn.doubts])

"""The models that the page offers, described in the page's words, and loaded when they are first used."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lssl.data.schema import AttributeSchema
from lssl.errors import LsslError

_ABOUT = {
    "london": "Learnt to smile from photographs of 66 people.",
    "generated": "Learnt eight expressions from rendered faces.",
    "3d": "Moves the photograph’s own pixels by a fitted 3D face. Nothing is trained.",
}
_TITLES = {"london": "London", "generated": "Generated", "3d": "3D face"}
READ_FROM_FACE = ""  # the source given to a model that reads from the face what it shows


class Opened(Protocol):
    """One photograph prepared for many edits, as `FaceEditor.open` returns it."""

    def edit(self, to: Mapping[str, float]) -> Any: ...

    def edited_pixels(self, to: Mapping[str, float]) -> NDArray[np.uint8]: ...


class Editor(Protocol):
    """What changes faces, such as `lssl.inference.editor.FaceEditor`."""

    @property
    def schema(self) -> AttributeSchema: ...

    @property
    def info(self) -> Mapping[str, Any]: ...

    def open(
        self, image: Any, *, source: Sequence[str] | None = ..., landmarks: Any = ..., quick: bool = ...
    ) -> Opened: ...


@dataclass
class Offer:
    """A model in the page's list: its name on the command line, its title and description, and how to load it."""

    name: str
    title: str
    about: str
    load: Callable[[], Editor]
    sees_source: bool = False  # whether the model reads from the face what it shows
    _editor: Editor | None = None

    def editor(self) -> Editor:
        if self._editor is None:
            self._editor = self.load()
        return self._editor

    def describe(self) -> dict[str, Any]:
        """The model's sliders, for JSON: its attributes with the words that `edit` takes, and what a photograph is assumed
        to show. Loads the model."""
        from lssl.inference.synthesis import source_values

        schema = self.editor().schema
        plain = source_values(self.editor(), [])
        groups = []
        for group in schema.groups:
            offered = group.values[1:] if group.binary else group.values
            words = {value: value if schema.knows(value) else f"{group.name}={value}" for value in group.values}
            groups.append(
                {
                    "name": group.name,
                    "binary": group.binary,
                    "values": [
                        {"word": words[value], "label": _label(group.name, value, group.binary)} for value in offered
                    ],
                    "sources": [{"word": words[value], "label": value} for value in group.values],
                    "source": READ_FROM_FACE if self.sees_source else words[plain[group.name]],
                }
            )
        return {
            "name": self.name,
            "title": self.title,
            "about": self.about,
            "reads": self.sees_source,
            "groups": groups,
        }


def offers(first: str, device: str | None = None) -> list[Offer]:
    """The models to choose from: `first` (a built-in name, a run folder or a file), then the built-in models.

    Loads `first`, so that errors show at once. Raises FileNotFoundError or LsslError if it is no generator that changes
    attributes.
    """
    from lssl.inference.synthesis import EDIT_3D
    from lssl.models.export import built_in_generators

    names = [*built_in_generators(), EDIT_3D]
    if first not in names:
        names.insert(0, first)
    listed = [_offer(name, device) for name in names]
    chosen = next(offer for offer in listed if offer.name == first)
    editor = chosen.editor()
    task = getattr(getattr(editor, "model", None), "task", "attribute-synthesis")
    if task != "attribute-synthesis":
        raise LsslError(
            f"{first} was trained for {task}; the page needs a generator of `lssl train` that changes attributes"
        )
    listed.remove(chosen)
    return [chosen, *listed]


def _offer(name: str, device: str | None) -> Offer:
    def load() -> Editor:
        from lssl.inference.editor import FaceEditor

        return FaceEditor(name, device)

    title = _TITLES.get(name, Path(name).name or name)
    return Offer(name, title, _ABOUT.get(name, "Your own model."), load, sees_source=name == "3d")


def _label(group: str, value: str, binary: bool) -> str:
    if binary:
        return group
    return f"{group} {value}" if value.lstrip("-").replace(".", "", 1).isdigit() else value

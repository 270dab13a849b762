"""What a model can change: groups of attributes (expression, yaw, lighting), and the vector y that encodes them."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lssl.errors import LsslError

if TYPE_CHECKING:  # PyTorch is imported where it is needed: photographs are read without it
    import torch
    from torch import Tensor

#: Attributes that mirroring changes: where they are learnt or drawn, faces are not mirrored.
SIDED = ("yaw", "pose", "gaze", "camera")
#: The values that a photograph is taken to show if nobody says otherwise: a face at rest, in even light, from the front.
PLAIN = ("neutral", "normal", "0", "front", "frontal")
_ON = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True)
class AttributeGroup:
    """One column of `metadata.csv`.

    Categorical: one of `values`, one-hot in y. Binary: `values` is (off, on), one element of y in {0, 1}.
    """

    name: str
    values: tuple[str, ...]
    binary: bool = False

    def __post_init__(self) -> None:
        if len(set(self.values)) != len(self.values):
            raise LsslError(f"attribute '{self.name}' lists a value twice: {', '.join(self.values)}")
        if self.binary and len(self.values) != 2:
            raise LsslError(f"binary attribute '{self.name}' needs two values, got {len(self.values)}")
        if len(self.values) < 2:
            found = ", ".join(self.values) or "none"
            raise LsslError(f"attribute '{self.name}' has one class only ({found}); at least two are needed")

    @property
    def width(self) -> int:
        return 1 if self.binary else len(self.values)

    def index(self, value: str) -> int:
        try:
            return self.values.index(value)
        except ValueError:
            known = ", ".join(self.values)
            raise LsslError(f"attribute '{self.name}' has no value '{value}'; it has: {known}") from None


@dataclass(frozen=True)
class AttributeSchema:
    """The groups in the order in which they lie in y; `dimension` is y's length."""

    groups: tuple[AttributeGroup, ...]
    slices: dict[str, slice] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.groups:
            raise LsslError("no attribute: a schema needs at least one group")
        slices, start = {}, 0
        for group in self.groups:
            if group.name in slices:
                raise LsslError(f"attribute '{group.name}' is listed twice")
            slices[group.name] = slice(start, start + group.width)
            start += group.width
        object.__setattr__(self, "slices", slices)

    @classmethod
    def from_columns(
        cls, columns: Mapping[str, Sequence[str]], *, binary: Iterable[str] | None = None
    ) -> "AttributeSchema":
        """Groups from the values found in each column, sorted (numerically where all are numbers).

        Columns whose values are all of 0/1, true/false, yes/no or on/off are binary; `binary` names them instead.
        Raises LsslError for a column with one value.
        """
        chosen = None if binary is None else set(binary)
        for name in chosen or ():
            if name not in columns:
                raise LsslError(f"no attribute column '{name}'; there are: {', '.join(columns)}")
        groups = []
        for name, values in columns.items():
            found = sorted_values(values)
            is_binary = _looks_binary(found) if chosen is None else name in chosen
            if is_binary and len(found) == 2 and _ON.get(found[0].lower(), False):
                found = found[::-1]
            groups.append(AttributeGroup(name, tuple(found), is_binary))
        return cls(tuple(groups))

    @property
    def dimension(self) -> int:
        return sum(group.width for group in self.groups)

    @property
    def names(self) -> list[str]:
        """A name for each element of y: the value; with its group's name where two groups share it."""
        plain = [
            (group.name, group.values[1] if group.binary else value, group.binary)
            for group in self.groups
            for value in (group.values[1:] if group.binary else group.values)
        ]
        counts: dict[str, int] = {}
        for _, value, _ in plain:
            counts[value] = counts.get(value, 0) + 1
        names = []
        for group_name, value, is_binary in plain:
            if is_binary and value.lower() in _ON:
                names.append(group_name)
            else:
                names.append(value if counts[value] == 1 else f"{group_name}={value}")
        return names

    def group(self, name: str) -> AttributeGroup:
        for group in self.groups:
            if group.name == name:
                return group
        known = ", ".join(group.name for group in self.groups)
        raise LsslError(f"no attribute '{name}'; the schema has: {known}")

    def encode(self, values: Mapping[str, str]) -> "Tensor":
        """y, float32 (dimension,), for one value per group. Raises LsslError for a missing or unknown one."""
        import torch

        y = torch.zeros(self.dimension)
        for group in self.groups:
            if group.name not in values:
                raise LsslError(f"attribute '{group.name}' is missing")
            self._set(y, group, group.index(values[group.name]))
        return y

    def encode_columns(self, columns: Mapping[str, Sequence[str]]) -> "Tensor":
        """y, float32 (N, dimension), for N rows given as columns of values."""
        import torch

        for group in self.groups:
            if group.name not in columns:
                raise LsslError(f"missing attribute column '{group.name}'; there are: {', '.join(columns)}")
        count = len(columns[self.groups[0].name])
        y = torch.zeros(count, self.dimension)
        for group in self.groups:
            index = torch.tensor([group.index(value) for value in columns[group.name]], dtype=torch.long)
            self._set(y, group, index)
        return y

    def decode(self, y: "Tensor") -> list[dict[str, str]]:
        """The likeliest value of each group for each row of y (N, dimension), which may hold probabilities."""
        rows: list[dict[str, str]] = []
        for row in y.detach().reshape(-1, self.dimension).cpu():
            chosen = {}
            for group in self.groups:
                part = row[self.slices[group.name]]
                index = int(part[0] > 0.5) if group.binary else int(part.argmax())
                chosen[group.name] = group.values[index]
            rows.append(chosen)
        return rows

    def indices(self, y: "Tensor", group: str) -> "Tensor":
        """The class index, int64 (N,), of one group in y (N, dimension)."""
        part = y[..., self.slices[self.group(group).name]]
        return (part[..., 0] > 0.5).long() if self.group(group).binary else part.argmax(-1)

    def sample(self, count: int, generator: "torch.Generator | None" = None) -> "Tensor":
        """`count` random targets, float32 (count, dimension): uniform over each group's values, groups independent."""
        import torch

        y = torch.zeros(count, self.dimension)
        for group in self.groups:
            index = torch.randint(len(group.values), (count,), generator=generator)
            self._set(y, group, index)
        return y

    def with_value(self, y: "Tensor", group: str, value: str) -> "Tensor":
        """A copy of y (..., dimension) in which `group` is `value` and the other groups stay."""
        chosen = self.group(group)
        changed = y.clone()
        changed[..., self.slices[group]] = 0
        self._set(changed, chosen, chosen.index(value))
        return changed

    def find(self, text: str) -> tuple[str, str]:
        """(group, value) meant by a user's `happy`, `expression=happy`, or the name of a binary attribute.

        A value that contains an = is matched whole. Raises LsslError for text that is unknown or ambiguous.
        """
        text = unicodedata.normalize("NFC", text)
        hits = self._hits(text.strip()) or self._hits(text)
        if len(hits) == 1:
            return hits[0]
        if hits:
            forms = ", ".join(f"{name}={value}" for name, value in hits)
            raise LsslError(f"'{text}' may mean {forms}: write one of these")
        for place in (k for k, letter in enumerate(text) if letter == "="):
            name, value = text[:place].strip(), text[place + 1 :]
            for group in self.groups:
                if _same(group.name, name):
                    kept = [own for own in group.values if _same(own, value) or _same(own, value.strip())]
                    return group.name, kept[0] if kept else group.values[group.index(value.strip())]
        if "=" in text:
            self.group(text.split("=", 1)[0].strip())
        known = "; ".join(f"{group.name}: {', '.join(group.values)}" for group in self.groups)
        raise LsslError(f"no attribute value '{text}'; known are {known}")

    def knows(self, text: str) -> bool:
        """Whether `find` accepts a text."""
        try:
            self.find(text)
        except LsslError:
            return False
        return True

    def _hits(self, text: str) -> list[tuple[str, str]]:
        hits = [(group.name, value) for group in self.groups for value in group.values if _same(value, text)]
        return hits + [
            (group.name, group.values[1]) for group in self.groups if group.binary and _same(group.name, text)
        ]

    def targets(self) -> list[tuple[str, str]]:
        """Every (group, value), in y's order: what `--all` asks for."""
        return [(group.name, value) for group in self.groups for value in group.values]

    def to_dict(self) -> dict[str, Any]:
        return {"groups": [{"name": g.name, "values": list(g.values), "binary": g.binary} for g in self.groups]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "AttributeSchema":
        try:
            groups = [
                AttributeGroup(str(g["name"]), tuple(map(str, g["values"])), bool(g.get("binary", False)))
                for g in data["groups"]
            ]
        except (KeyError, TypeError) as error:
            raise LsslError(f"not an attribute schema: {error!r}") from None
        return cls(tuple(groups))

    def _set(self, y: "Tensor", group: AttributeGroup, index: "int | Tensor") -> None:
        import torch

        part = y[..., self.slices[group.name]]
        index = torch.as_tensor(index, device=y.device)
        if group.binary:
            part[..., 0] = index.to(y.dtype)
        else:
            part[...] = torch.nn.functional.one_hot(index, len(group.values)).to(y.dtype)


def _same(name: str, text: str) -> bool:
    """Whether a name is what a user wrote, whose letters may be composed differently."""
    return unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", text)


def sorted_values(values: Iterable[str]) -> list[str]:
    """The distinct values, by number where all are numbers (yaw angles), else by name with `neutral` first."""
    found = set(values)
    try:
        return sorted(found, key=float)
    except ValueError:
        return sorted(found, key=lambda value: (value.lower() not in ("neutral", "normal"), value))


def _looks_binary(found: Sequence[str]) -> bool:
    return len(found) == 2 and {_ON.get(value.lower()) for value in found} == {True, False}

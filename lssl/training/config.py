"""What a training run is: one dataclass per concern, filled from a TOML preset, then a file, then flags.

A method's own settings are the dataclass `Settings` of its file in `lssl/methods/`; its sections stand next to the
common ones, so a new method adds nothing here.
"""

import dataclasses
import difflib
import importlib
import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from lssl.data.tables import read_text
from lssl.errors import LsslError

#: "auto" depends on the machine or the data; true and false stand for "on" and "off".
Switch = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class DataConfig:
    folder: str = ""  # data set folder; "": first generate faces of the embedded model
    attributes: tuple[str, ...] = ()  # columns of metadata.csv; empty: the folder's own choice
    flip: Switch = "on"  # mirror with probability 1/2; "auto": unless a class is one-sided, as contempt is
    # Random shift, turn, scale and light of a face: 1 is +-8% shift, 6 degrees, 5% scale.
    jitter: float = 0.0
    workers: int = 2  # threads that read pictures, if they do not fit in memory


@dataclass(frozen=True)
class FacesConfig:
    """The faces that a run without `data.folder` generates first (the names are those of `lssl generate-faces`)."""

    subjects: int = 100
    expressions: tuple[str, ...] = ()  # empty: all that the embedded model has
    size: int = 128


@dataclass(frozen=True)
class ScheduleConfig:
    iterations: int = 10_000  # generator updates
    batch_size: int = 8  # of all processes together
    critic_updates: int = 5  # per generator update
    learning_rate: float = 1e-4
    critic_learning_rate: float = 0.0  # 0: the same as learning_rate
    beta1: float = 0.5
    beta2: float = 0.999
    decay_start: float = 1.0  # from this share of all iterations on, the learning rate falls linearly to 0; 1: never
    ema: float = 0.0  # decay of the averaged generator that is exported; 0: none

    @property
    def betas(self) -> tuple[float, float]:
        return self.beta1, self.beta2

    @property
    def critic_rate(self) -> float:
        return self.critic_learning_rate or self.learning_rate


@dataclass(frozen=True)
class SpeedConfig:
    """None of these changes what is computed, except for rounding."""

    graph: Switch = "auto"  # each update as one CUDA graph; "auto": on a GPU
    bf16: Switch = "off"  # bfloat16 autocast of generator and parser; "auto": where the chip has it
    channels_last: Switch = "auto"  # "auto": on a GPU
    tf32: bool = True  # a GPU's float32 products and convolutions use a mantissa of 10 bits
    threads: int = 0  # of the CPU; 0: measured when a run begins and when it slows down
    # Deterministic algorithms on a GPU too, so that a resumed run repeats bit for bit. PyTorch has none for the gradient of
    # a moved picture (grid_sample), so `standard` and `pose` repeat there only up to rounding.
    deterministic: bool = False


@dataclass(frozen=True)
class OutputConfig:
    log_every: int = 10  # iterations
    sample_every: int = 250
    checkpoint_every: int = 250
    checkpoint_minutes: float = 5.0  # the longest time between two checkpoints
    keep: int = 2  # how many checkpoints
    sample_faces: int = 8


@dataclass(frozen=True)
class TrainConfig:
    """A whole run. `TrainConfig.preset(name)` or `TrainConfig.load(file)`, then `with_overrides`.

    method: the name of a file of `lssl/methods/`. settings: that file's `Settings`; by default, its defaults.
    """

    method: str = "paper"
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    faces: FacesConfig = field(default_factory=FacesConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    speed: SpeedConfig = field(default_factory=SpeedConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    settings: Any = None

    def __post_init__(self) -> None:
        if self.settings is None:
            object.__setattr__(self, "settings", method_settings(self.method)())
        for name in ("iterations", "batch_size", "critic_updates"):
            if getattr(self.schedule, name) < 1:
                raise LsslError(f"schedule.{name} must be at least 1")
        for name in ("log_every", "sample_every", "checkpoint_every", "keep"):
            if getattr(self.output, name) < 1:
                raise LsslError(f"output.{name} must be at least 1")
        if not 0 <= self.seed < 2**63:
            raise LsslError(f"seed must be a whole number from 0 to 2**63 - 1, not {self.seed}")
        if not (self.schedule.learning_rate > 0 and math.isfinite(self.schedule.learning_rate)):
            raise LsslError(f"schedule.learning_rate must be a number above 0, not {self.schedule.learning_rate}")
        if not 0 <= self.schedule.ema < 1:
            raise LsslError(f"schedule.ema must lie in [0, 1), not {self.schedule.ema}")

    @classmethod
    def preset(cls, name: str) -> "TrainConfig":
        return cls.from_dict(_read_preset(name), f"preset {name}")

    @classmethod
    def load(cls, path: str | Path) -> "TrainConfig":
        """Reads a TOML file, such as a run folder's config.toml. Raises LsslError naming the file."""
        return cls.from_dict(_extended(_read_toml(path)), str(path))

    @classmethod
    def load_run(cls, path: str | Path) -> "TrainConfig":
        """Reads a run folder's config.toml, which has all settings: a file that lacks any was cut off, and the run would
        continue with other settings. Raises LsslError naming what is missing."""
        values = _read_toml(path)
        config = cls.from_dict(values, str(path))
        lacking = [name for name in config.to_dict() if name not in values]
        if lacking or not config.data.folder:
            what = f"it has no {', '.join(lacking)}" if lacking else "it names no data.folder"
            raise LsslError(
                f"{path} is not the complete file that a run writes: {what}; restore it, give the settings by "
                "--config FILE, or begin again in another --out"
            )
        return config

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "settings") -> "TrainConfig":
        """From sections by name, the common ones and the method's. Raises LsslError naming `source` and what is wrong."""
        kind = method_settings(str(values.get("method", cls.method)))
        own = get_type_hints(kind)
        common = {name: hint for name, hint in get_type_hints(cls).items() if name != "settings"}
        settings = _build(kind, {k: v for k, v in values.items() if k in own}, source, "", own)
        rest = {k: v for k, v in values.items() if k not in own}
        chosen = _chosen(rest, source, "", common, [*common, *own])
        try:
            return cls(**chosen, settings=settings)
        except LsslError as error:
            raise LsslError(f"{source}: {error}") from None

    def with_overrides(self, overrides: Mapping[str, Any]) -> "TrainConfig":
        """A copy with settings changed, such as `{"losses.parsing": 0}`; text is parsed as a TOML value.

        Raises LsslError for a setting that does not exist or a value of the wrong type.
        """
        tree = self.to_dict()
        for name, value in overrides.items():
            *sections, last = name.split(".")
            node = tree
            for section in sections:
                if not isinstance(node.get(section), dict):
                    there = [key for key, value in tree.items() if isinstance(value, dict)]
                    raise LsslError(f"no setting '{name}'; sections are: {', '.join(there)}")
                node = node[section]
            if last not in node or isinstance(node[last], dict):
                raise LsslError(f"no setting '{name}'; there are: {', '.join(node)}")
            if name == "method" and value != self.method:
                raise LsslError(f"these are settings of the method {self.method}; {value} has a preset of its own")
            node[last] = _parse(value) if isinstance(value, str) and not isinstance(node[last], str) else value
        return self.from_dict(tree, "overrides")

    def for_method(self, name: str) -> "TrainConfig":
        """The same run with another method: that method's preset, overridden by those of these settings that it shares; of the
        losses, whose weights suit one method's networks, only by those that were changed in the own method's preset."""
        if name == self.method:
            return self
        other, own = self.preset(name).to_dict(), self.preset(self.method).to_dict()
        shared = {
            section: {
                key: value
                for key, value in values.items()
                if key in other[section] and (section != "losses" or value != own[section][key])
            }
            for section, values in self.to_dict().items()
            if isinstance(values, dict) and section in other
        }
        return self.from_dict({**_merged(other, shared), "seed": self.seed}, f"settings for {name}")

    def has(self, name: str) -> bool:
        """Whether there is a setting of this name, such as `losses.parsing`, in this method."""
        node: Any = self.to_dict()
        for part in name.split("."):
            if not isinstance(node, dict) or part not in node:
                return False
            node = node[part]
        return True

    def to_dict(self) -> dict[str, Any]:
        tree = dataclasses.asdict(self)
        own = tree.pop("settings")
        return {**tree, **own}

    def to_toml(self) -> str:
        tree = self.to_dict()
        lines = [f"{name} = {_toml(value)}" for name, value in tree.items() if not isinstance(value, dict)]
        for section, values in tree.items():
            if isinstance(values, dict):
                lines += ["", f"[{section}]", *(f"{name} = {_toml(value)}" for name, value in values.items())]
        return "\n".join(lines) + "\n"


def presets() -> list[str]:
    """The names of the presets: the files of `lssl/presets`."""
    return _stems("presets", ".toml")


def methods() -> list[str]:
    """The names of the methods: the files of `lssl/methods` that define one."""
    folder = files("lssl") / "methods"
    return [name for name in _stems("methods", ".py") if "\nclass Method" in (folder / f"{name}.py").read_text("utf-8")]


def method_module(name: str) -> Any:
    """The module `lssl/methods/<name>.py`: a plug-in that is known here by its name only. Raises LsslError if unknown."""
    if name not in methods():
        raise LsslError(f"method is '{name}', expected one of: {', '.join(methods())}")
    return importlib.import_module(f"lssl.methods.{name}")


def method_settings(name: str) -> Any:
    """The dataclass of a method's own settings."""
    return method_module(name).Settings


def _stems(folder: str, suffix: str) -> list[str]:
    names = (entry.name for entry in (files("lssl") / folder).iterdir())
    return sorted(name.removesuffix(suffix) for name in names if name.endswith(suffix))


def _read_preset(name: str) -> dict[str, Any]:
    if name not in presets():
        raise LsslError(f"preset is '{name}', expected one of: {', '.join(presets())}")
    return _extended(tomllib.loads((files("lssl") / "presets" / f"{name}.toml").read_text("utf-8")))


def _read_toml(path: str | Path) -> dict[str, Any]:
    text = read_text(path, "UTF-8")  # with a byte order mark, too, which Windows' editors put there
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise LsslError(f"{path}: not TOML ({error}){_toml_fix(text, str(error))}") from None
    if not values:
        raise LsslError(f"{path} has no settings in it; give a run's config.toml or a --preset")
    return values


def _toml_fix(text: str, error: str) -> str:
    """What is usually wrong with the line that a TOML error names; empty where nothing usual is."""
    place = re.search(r"at line (\d+)", error)
    line = text.splitlines()[int(place[1]) - 1] if place and int(place[1]) <= len(text.splitlines()) else ""
    for pattern, fix in (
        (r"=.*\b(True|False)\b", "write true and false in small letters"),
        (r"=\s*(None|null|nil)\b", "leave the setting out instead"),
        (r'="?.*"[^"]*\\', "write a path with / or in single quotes"),
        (r"=\s*-?\d+,\d+", "write a decimal point, not a comma"),
        (r"^\s*[\w.]+\s*:", "write name = value"),
        (r"^\s*\{", "this looks like JSON"),
    ):
        if re.search(pattern, line):
            return f": {fix}"
    return ""


def _meant(name: str, names: Iterable[str]) -> str:
    """The question whether another name was meant, where a name is like one of `names` but for case, dashes or a letter."""
    plain = {other.lower(): other for other in names}
    found = difflib.get_close_matches(name.lower().replace("-", "_"), plain, 1, 0.75)
    return f" (did you mean {plain[found[0]]}?)" if found else ""


def _extended(values: dict[str, Any]) -> dict[str, Any]:
    """The values over those of the preset that `extends` names."""
    base = values.pop("extends", None)
    return values if base is None else _merged(_read_preset(base), values)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merged(merged[name], value) if both else value
    return merged


def _build(cls: Any, values: Mapping[str, Any], source: str, prefix: str, hints: Mapping[str, Any]) -> Any:
    return cls(**_chosen(values, source, prefix, hints, list(hints)))


def _chosen(
    values: Mapping[str, Any], source: str, prefix: str, hints: Mapping[str, Any], there: list[str]
) -> dict[str, Any]:
    chosen = {}
    for name, value in values.items():
        where = f"{prefix}{name}"
        if name not in hints:
            meant = _meant(name, there)
            raise LsslError(f"{source}: no setting '{where}'{meant}; there are: {', '.join(there)}")
        chosen[name] = _convert(hints[name], value, source, where)
    return chosen


def _convert(kind: Any, value: Any, source: str, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise LsslError(f"{source}: '{where}' is a section, not {value!r}")
        return _build(kind, value, source, where + ".", get_type_hints(kind))
    if get_origin(kind) is Literal:
        return _choice(get_args(kind), value, source, where)
    if get_args(kind):
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, list | tuple):
            raise LsslError(f"{source}: '{where}' must be a list of names, not {value!r}")
        return tuple(str(part) for part in value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        fix = ""
        if kind in (int, float) and isinstance(value, str) and isinstance(_parse(value), int | float):
            fix = "; remove the quotation marks"
        wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
        raise LsslError(f"{source}: '{where}' must be {wanted.get(kind, kind.__name__)}, not {value!r}{fix}")
    return value


def _choice(choices: tuple[str, ...], value: Any, source: str, where: str) -> str:
    if "on" in choices and isinstance(value, bool | str):
        value = {True: "on", False: "off", "true": "on", "false": "off"}.get(value, value)
    if value not in choices:
        raise LsslError(f"{source}: {where} is '{value}', expected one of: {', '.join(choices)}")
    return str(value)


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML's escapes are those of JSON
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(part) for part in value) + "]"
    return repr(value)

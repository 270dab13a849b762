"""What a training run is: one dataclass a concern, filled from a TOML preset, then a file, then flags."""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args, get_type_hints

from lssl.errors import LsslError
from lssl.models.generator import CONDITIONINGS, OUTPUTS

PRESETS = ("quick", "standard", "paper", "pose")
TASKS = ("attribute-synthesis", "pose-normalization")


class ConfigError(LsslError):
    """A setting that does not exist or cannot be; the message names it and what may stand there."""


@dataclass(frozen=True)
class DataConfig:
    folder: str = ""  # data set folder; "" makes faces of the embedded model first
    attributes: tuple[str, ...] = ()  # columns of metadata.csv; empty: the folder's own choice
    flip: bool = True  # mirror with probability 1/2
    jitter: float = 0.0  # random shift, turn, scale and light of a face: 1 is +-8% shift, 6 degrees, 5% scale
    # How many training faces that strength is for: fewer are moved more (`strength_for`). 0: any number.
    jitter_reference_faces: int = 0
    workers: int = 2  # processes that read pictures, where they do not fit in memory


@dataclass(frozen=True)
class FacesConfig:
    """The generated faces that a run without `data.folder` makes first (`lssl generate-faces` has the same names)."""

    subjects: int = 100
    expressions: tuple[str, ...] = ()  # empty: all that the embedded model has
    size: int = 128
    variation: float = 1.0


@dataclass(frozen=True)
class NetworkConfig:
    """Generator, discriminator (paper 4.1); `output` and `width` as in `lssl.models.Generator`."""

    width: int = 64
    num_downsamplings: int = 4
    residual_blocks: int = 6
    conditioning: str = "concat"  # (paper) or "modulate": y scales and shifts channels too; smeared in trials
    output: str = "direct"
    side_channels: int = 3  # of the landmark heatmap; 0: no side image (ablation)
    heatmap_sigma: float = 0.0  # pixels; 0: 2 at 128x128 and in proportion elsewhere
    critic_width: int = 64
    critic_layers: int = 6
    critic_init: str = "pytorch"  # (paper's code) or "he": D_cls learns faster, D_src less
    critic_sees_target: bool = False  # D_src judges faces as ones of attributes y (beyond the paper)


@dataclass(frozen=True)
class LossConfig:
    """Weights of eq. 1 to 7; 0 switches a term off and spares its cost."""

    # "wasserstein" (paper), or "logistic" with the penalty on real images (beyond it): tells few photographs from their
    # fakes after a tenth of the updates.
    adversarial: str = "wasserstein"
    penalty: float = 10.0  # lambda_gp
    classification: float = 1.0  # lambda_cls of the generator
    critic_classification: float = 1.0  # lambda_cls of the critic; the paper has one lambda_cls for both
    bidirectional: float = 10.0  # lambda_bi of |x - x^| + |s - s^|
    latent: float = 10.0  # lambda_bi of |Enc(x, s) - Enc(x', s')|
    identity: float = 10.0  # lambda_id
    parsing: float = 10.0  # lambda_p
    frontal: float = 0.0  # pose normalization, beyond the paper: |x' - t|, t the subject's own frontal photograph of y
    attribute_loss: str = "bce"  # "bce" (paper) or "softmax" (code)
    # What D_cls sees: "pair" (paper); beyond it "image", the side image blank; "luminance", the image in grey, too.
    classify: str = "pair"
    classifier_noise: float = 0.0  # standard deviation of noise on what D_cls sees (beyond the paper)


@dataclass(frozen=True)
class PoseConfig:
    """Pose normalization (paper 3.2): what the critic takes as real, and what the generator is asked for."""

    method: str = "lssl"  # or "simgan", the comparison
    real_faces: str = ""  # data set folder of real faces; "": the photographs in the data's own side/
    near_frontal: float = 10.0  # of those, the photographs within this yaw in degrees; all where there are too few
    keep: float = 0.5  # share of the targets that say "as in the photograph": y = 0, which normalizing asks for
    buffer: int = 512  # SimGAN's history of refined faces
    refiner_blocks: int = 4  # SimGAN's residual blocks
    refiner_warmup: int = 200  # SimGAN: first, this many updates of the self-regularization alone


@dataclass(frozen=True)
class ScheduleConfig:
    iterations: int = 10_000  # generator updates
    batch_size: int = 8  # of all processes together
    critic_updates: int = 5  # a generator update
    # First, this many updates of D_cls alone (beyond the paper: fakes get directions sooner); up to four times as many
    # while it knows nothing yet.
    critic_warmup: int = 0
    learning_rate: float = 1e-4
    critic_learning_rate: float = 0.0  # 0: the same
    beta1: float = 0.5
    beta2: float = 0.999
    constant_epochs: float = 100.0  # learning rate falls linearly to 0 after this many epochs; 0: use decay_start
    decay_start: float = 1.0  # the same as a share of all iterations; 1: never
    ema: float = 0.0  # decay of the averaged generator that is exported; 0: none


@dataclass(frozen=True)
class SpeedConfig:
    """Beyond the paper, all off there. None changes what is computed, but for rounding."""

    bf16: str = "off"  # bfloat16 autocast of generator and parser: "on", "off", "auto" (where the chip has it)
    compile: bool = False  # torch.compile
    cuda_graphs: bool = False  # torch.compile's reduce-overhead mode
    channels_last: bool = False
    deterministic: bool = False  # deterministic algorithms on a GPU too, for bitwise resume there


@dataclass(frozen=True)
class OutputConfig:
    log_every: int = 10  # iterations
    sample_every: int = 250
    checkpoint_every: int = 250
    checkpoint_minutes: float = 5.0  # at the latest after this time
    keep: int = 2  # checkpoints
    sample_faces: int = 8


@dataclass(frozen=True)
class TrainConfig:
    """A whole run. `TrainConfig.preset(name)` or `TrainConfig.load(file)`, then `with_overrides`."""

    task: str = "attribute-synthesis"
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    faces: FacesConfig = field(default_factory=FacesConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    pose: PoseConfig = field(default_factory=PoseConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    speed: SpeedConfig = field(default_factory=SpeedConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        _choice("task", self.task, TASKS)
        _choice("network.output", self.network.output, OUTPUTS)
        _choice("network.conditioning", self.network.conditioning, CONDITIONINGS)
        _choice("network.critic_init", self.network.critic_init, ("pytorch", "he"))
        _choice("losses.adversarial", self.losses.adversarial, ("wasserstein", "logistic"))
        _choice("losses.attribute_loss", self.losses.attribute_loss, ("bce", "softmax"))
        _choice("losses.classify", self.losses.classify, ("pair", "image", "luminance"))
        _choice("pose.method", self.pose.method, ("lssl", "simgan"))
        if not 0 < self.pose.keep <= 1:
            raise ConfigError(f"pose.keep must lie in (0, 1], not {self.pose.keep}")
        if self.pose.buffer < 1:
            raise ConfigError("pose.buffer must be at least 1")
        _choice("speed.bf16", self.speed.bf16, ("on", "off", "auto"))
        for name in ("iterations", "batch_size", "critic_updates"):
            if getattr(self.schedule, name) < 1:
                raise ConfigError(f"schedule.{name} must be at least 1")
        for name in ("log_every", "sample_every", "checkpoint_every", "keep"):
            if getattr(self.output, name) < 1:
                raise ConfigError(f"output.{name} must be at least 1")
        if not 0 <= self.schedule.ema < 1:
            raise ConfigError(f"schedule.ema must lie in [0, 1), not {self.schedule.ema}")

    @classmethod
    def preset(cls, name: str) -> "TrainConfig":
        _choice("preset", name, PRESETS)
        return cls.from_dict(tomllib.loads((files("lssl") / "presets" / f"{name}.toml").read_text()), f"preset {name}")

    @classmethod
    def load(cls, path: str | Path) -> "TrainConfig":
        """Reads a TOML file, such as a run folder's config.toml. Raises ConfigError naming the file."""
        try:
            with Path(path).open("rb") as file:
                return cls.from_dict(tomllib.load(file), str(path))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: not TOML ({error})") from None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "settings") -> "TrainConfig":
        config: TrainConfig = _build(cls, values, source, "")
        return config

    def with_overrides(self, overrides: Mapping[str, Any]) -> "TrainConfig":
        """A copy in which `{"losses.parsing": 0}` and the like are set; text is read as TOML values are."""
        tree = self.to_dict()
        for name, value in overrides.items():
            *sections, last = name.split(".")
            node = tree
            for section in sections:
                if not isinstance(node.get(section), dict):
                    raise ConfigError(f"no setting '{name}'; sections are: {', '.join(_sections())}")
                node = node[section]
            if last not in node or isinstance(node[last], dict):
                raise ConfigError(f"no setting '{name}'; there are: {', '.join(node)}")
            node[last] = _parse(value) if isinstance(value, str) and not isinstance(node[last], str) else value
        return self.from_dict(tree, "overrides")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def to_toml(self) -> str:
        tree = self.to_dict()
        lines = [f"{name} = {_toml(value)}" for name, value in tree.items() if not isinstance(value, dict)]
        for section, values in tree.items():
            if isinstance(values, dict):
                lines += ["", f"[{section}]", *(f"{name} = {_toml(value)}" for name, value in values.items())]
        return "\n".join(lines) + "\n"


def _sections() -> list[str]:
    return [f.name for f in dataclasses.fields(TrainConfig) if dataclasses.is_dataclass(f.default_factory)]


def _build(cls: Any, values: Mapping[str, Any], source: str, prefix: str) -> Any:
    hints = get_type_hints(cls)
    chosen = {}
    for name, value in values.items():
        where = f"{prefix}{name}"
        if name not in hints:
            raise ConfigError(f"{source}: no setting '{where}'; there are: {', '.join(hints)}")
        chosen[name] = _convert(hints[name], value, source, where)
    return cls(**chosen)


def _convert(kind: Any, value: Any, source: str, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{source}: '{where}' is a section, not {value!r}")
        return _build(kind, value, source, where + ".")
    if get_args(kind):
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        return tuple(str(part) for part in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(f"{source}: '{where}' must be {kind.__name__}, not {value!r}")
    return value


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(part) for part in value) + "]"
    return repr(value)


def _choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} is '{value}', expected one of: {', '.join(choices)}")

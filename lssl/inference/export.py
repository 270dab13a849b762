"""A trained generator for programs without lssl: as ONNX, or as PyTorch's own exported program (.pt2)."""

import contextlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lssl.data.landmarks import COUNT
from lssl.data.writer import write_atomic
from lssl.errors import LsslError
from lssl.models.export import TrainedGenerator
from lssl.models.moving import MovingGenerator
from lssl.ops.portable import portable_operators

ONNX, PT2 = "onnx", "pt2"
SIDES = ("landmarks", "heatmap")
OPSET = 20  # of ONNX: the first whose GridSample and AffineGrid match PyTorch's
_EXTRA_MISSING = "ONNX needs onnx, onnxscript and onnxruntime: pip install 'lssl[export]'"


class Translation(nn.Module):
    """The exported function: from a face's crop and what it should show to the changed crop.

    Inputs, as far as the network needs them (`names`): image (N, 3, S, S) in [-1, 1]; landmarks (N, 68, 2), in pixels of the
    crop, or heatmap (N, C, S, S) in [-1, 1]; attributes (N, A), what the face should show; source (N, A), what it shows.
    Returns (N, 3, S, S) in [-1, 1].
    """

    def __init__(self, generator: TrainedGenerator, side: str = "landmarks") -> None:
        super().__init__()
        self.generator, self.takes_landmarks = generator, side == "landmarks"
        names = ["image"]
        if generator.network.side_channels:
            names.append(side)
        names.append("attributes")
        if getattr(generator.network, "takes_source", False):
            names.append("source")
        self.names = tuple(names)

    def forward(self, *inputs: Tensor) -> Tensor:
        given = dict(zip(self.names, inputs, strict=True))
        side = given.get("heatmap")
        if "landmarks" in given:
            side = self.generator.side_image(given["landmarks"])
        source = (given["source"],) if "source" in given else ()
        made: Tensor = self.generator.network(given["image"], side, given["attributes"], *source)[0]
        return made.clamp(-1, 1)

    def examples(self, count: int = 2, seed: int = 0) -> tuple[Tensor, ...]:
        """Inputs of the right shapes, for tracing and for checks."""
        chance = torch.Generator().manual_seed(seed)
        size = self.generator.image_size
        made = {
            "image": 2 * torch.rand(count, 3, size, size, generator=chance) - 1,
            "landmarks": torch.rand(count, COUNT, 2, generator=chance) * (size - 1),
            "heatmap": 2 * torch.rand(count, max(1, self.generator.network.side_channels), size, size, generator=chance)
            - 1,
            "attributes": self.generator.schema.sample(count, chance),
            "source": self.generator.schema.sample(count, chance),
        }
        return tuple(made[name] for name in self.names)

    def describe(self) -> dict[str, str]:
        """The file's metadata: each input and output, and what the numbers of `attributes` mean."""
        schema, size = self.generator.schema, self.generator.image_size
        channels = self.generator.network.side_channels
        framing = self.generator.info.get("alignment", {})
        unknown = "; 0 if that is not known" if isinstance(self.generator.network, MovingGenerator) else ""
        shapes = {
            "image": f"(N, 3, {size}, {size}) float32 in [-1, 1], RGB: the aligned face",
            "landmarks": f"(N, {COUNT}, 2) float32: x, y of the 68 landmarks in the image's pixels, centres at integers",
            "heatmap": f"(N, {channels}, {size}, {size}) float32 in [-1, 1]: Gaussians at the 68 landmarks, sigma "
            f"{self.generator.heatmap_sigma:g} pixels, their largest value, 2 v - 1",
            "attributes": f"(N, {schema.dimension}) float32: {', '.join(schema.names)}; 1 for what it should show",
            "source": f"(N, {schema.dimension}) float32: like attributes, but what the image shows now{unknown}",
        }
        return {
            **{f"input {name}": shapes[name] for name in self.names},
            "output changed": f"(N, 3, {size}, {size}) float32 in [-1, 1], RGB",
            "attributes": json.dumps(schema.to_dict()),
            "alignment": json.dumps(framing),
            "task": self.generator.task,
            "made by": "lssl export",
        }


def exported_program(translation: Translation) -> Any:
    """The function, traced for any number of faces, in PyTorch's own operators only."""
    inputs = translation.examples()
    batch = torch.export.Dim("batch", min=1, max=4096)
    shapes = (tuple({0: batch} for _ in inputs),)
    with torch.no_grad(), _quiet():
        program = torch.export.export(translation.eval(), inputs, dynamic_shapes=shapes)
        return program.run_decompositions(portable_operators())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporters' warnings: of packages that are not installed, of their own deprecated names, of constants that
    they do not fold."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def export_generator(generator: TrainedGenerator, path: str | Path, kind: str, *, side: str = "landmarks") -> Path:
    """Writes a generator as an ONNX or a .pt2 file; returns the path. Moves the generator to the CPU.

    Args:
        kind: "onnx" or "pt2".
        side: the input of networks with a side image: "landmarks", from which the file draws the heatmap itself, or
            "heatmap".

    The file's inputs and outputs are those of `Translation`; its metadata (ONNX: metadata_props, .pt2: the extra file
    lssl.json) gives their shapes and ranges, and what each number of `attributes` means.
    Raises LsslError for another kind or side, and if ONNX is asked for but not installed.
    """
    path = Path(path)
    if kind not in (ONNX, PT2):
        raise LsslError(f"kind={kind!r}: expected '{ONNX}' or '{PT2}'")
    if side not in SIDES:
        raise LsslError(f"side={side!r}: expected one of {', '.join(SIDES)}")
    if kind == ONNX and any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript")):
        raise LsslError(_EXTRA_MISSING)
    translation = Translation(generator.cpu().eval().requires_grad_(False), side)
    program = exported_program(translation)
    if kind == ONNX:
        made = _onnx(program, translation)
    else:
        buffer = io.BytesIO()  # PyTorch's own writer ends the process where the disk is full
        torch.export.save(program, buffer, extra_files={"lssl.json": json.dumps(translation.describe())})
        made = buffer.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, made)
    return path


def _onnx(program: Any, translation: Translation) -> bytes:
    names = list(translation.names)
    with _quiet(), contextlib.redirect_stdout(io.StringIO()):  # onnxscript 0.6 prints how many rules it applied
        made = torch.onnx.export(
            program, (), input_names=names, output_names=["changed"], opset_version=OPSET, dynamo=True, verbose=False
        )
    assert made is not None
    model = made.model_proto
    for name, text in translation.describe().items():
        entry = model.metadata_props.add()
        entry.key, entry.value = name, text
    model.doc_string = "A face generator made by lssl export; see metadata_props."
    content: bytes = model.SerializeToString()
    return content


def largest_difference(
    generator: TrainedGenerator, path: str | Path, *, side: str = "landmarks", faces: int = 3
) -> float:
    """The largest difference, over the pixels in [-1, 1] of some random faces, between an exported file's results and the
    network's own."""
    translation = Translation(generator.cpu().eval(), side)
    inputs = translation.examples(faces, seed=1)
    with torch.no_grad():
        expected = translation(*inputs)
    path = Path(path)
    if path.suffix == f".{PT2}":
        with _quiet():
            found = torch.export.load(path).module()(*inputs)
    else:
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        given = {name: tensor.numpy() for name, tensor in zip(translation.names, inputs, strict=True)}
        found = torch.from_numpy(session.run(None, given)[0])
    return float((found - expected).abs().max())

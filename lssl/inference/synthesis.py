"""Translates faces with a trained generator: raw photographs (find, align, translate, paste back) or prepared ones."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from lssl.data import FaceFolder, to_float, to_uint8
from lssl.data.align import CROP_SCALE, EYE_LINE, Framing, Similarity
from lssl.data.images import read_image
from lssl.data.masks import landmark_mask
from lssl.data.portrait import Portrait, read_portrait, safe_name
from lssl.data.schema import PLAIN, AttributeSchema
from lssl.errors import LsslError
from lssl.models.export import TrainedGenerator
from lssl.models.moving import MovingGenerator

#: Stands where a generator's name does: the edit by the fitted 3D face, `lssl.inference.model_edit`.
EDIT_3D = "3d"


class Knowing(Protocol):
    """A trained generator, or what stands in for one: what it can change, and what is known of its training."""

    @property
    def schema(self) -> AttributeSchema: ...

    @property
    def info(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Target:
    """One result to make: the attribute values to change to, how far (0: not at all, 1: fully, 1.5: beyond), its name."""

    values: Mapping[str, str]
    intensity: float
    name: str

    @property
    def file_name(self) -> str:
        return safe_name(self.name)

    @property
    def shares(self) -> dict[tuple[str, str], float]:
        """How far to go to each (group, value)."""
        return dict.fromkeys(self.values.items(), self.intensity)


@dataclass(frozen=True)
class Blend:
    """One result to make, by how far to go to each of several (group, value), as a row of sliders gives it."""

    shares: Mapping[tuple[str, str], float]
    name: str


@dataclass
class InputFace:
    """A face as the generator takes it. `photograph`, `similarity` (from it to the crop) and `places` are set only if it
    comes from a raw photograph."""

    name: str
    image: NDArray[np.uint8]  # (S, S, 3)
    landmarks: NDArray[np.float32] | None
    source: dict[str, str]  # what the face shows: a value per group
    photograph: NDArray[np.uint8] | None = None
    similarity: Similarity | None = None
    places: NDArray[np.float32] | None = None  # the landmarks in the photograph
    metadata: Mapping[str, bytes] = field(default_factory=dict)  # its EXIF and colour profile, see `Picture`


def parse_targets(schema: AttributeSchema, texts: Sequence[str], intensities: Sequence[float]) -> list[Target]:
    """Targets from users' words, such as `happy`, `expression=happy`, or `happy+dark` for two at once; each at each
    intensity.

    Without texts: every value of every group. Raises LsslError for a word that the model does not know.
    """
    chosen = [_pairs(schema, text) for text in texts] if texts else [[pair] for pair in schema.targets()]
    several = len(set(intensities)) > 1
    targets = []
    for pairs in chosen:
        if len({group for group, _ in pairs}) < len(pairs):
            raise LsslError(f"'{'+'.join(value for _, value in pairs)}' asks for two values of one attribute")
        name = "+".join(_value_name(schema, group, value) for group, value in pairs)
        for intensity in intensities:
            label = f"{name} {intensity:g}" if several else name
            targets.append(Target(dict(pairs), intensity, label))
    return targets


def target_words(schema: AttributeSchema, text: str) -> list[str]:
    """Splits a user's list at its commas; a value that contains a comma must be quoted, or be the only one."""
    if schema.knows(text):
        return [text]
    words = next(csv.reader([text], skipinitialspace=True), [])
    return [word.strip() for word in words if word.strip()]


def _pairs(schema: AttributeSchema, text: str) -> list[tuple[str, str]]:
    """The (group, value) pairs of `happy` or `happy+dark`; a value that contains a plus is kept whole."""
    parts = text.split("+")
    for count in range(len(parts), 1, -1):
        if schema.knows(first := "+".join(parts[:count])):
            rest = _pairs(schema, "+".join(parts[count:])) if count < len(parts) else []
            return [schema.find(first), *rest]
    return [schema.find(parts[0]), *(_pairs(schema, "+".join(parts[1:])) if len(parts) > 1 else [])]


def source_values(model: Knowing, given: Sequence[str]) -> dict[str, str]:
    """What a raw photograph is assumed to show, by group: the given values, else neutral, normal light, yaw 0, else the one in
    which the model's training faces were at rest (`lssl.training.start.at_rest`), else the first. Raises LsslError for an
    unknown value."""
    rest = model.info.get("rest")
    values = {}
    for group in model.schema.groups:
        known = rest.get(group.name) if isinstance(rest, dict) else None
        plain = [value for value in (*PLAIN, known) if value in group.values]
        values[group.name] = plain[0] if plain else group.values[0]
    for word in given:
        group_name, value = model.schema.find(word)
        values[group_name] = value
    return values


def target_vector(schema: AttributeSchema, source: Mapping[str, str], target: Target | Blend) -> Tensor:
    """y (A,) = y_source + intensity (y_target - y_source): 0 gives the source's, 1 the target's attributes.

    If several values of one group are asked for, each is added by its share, and the source's value is reduced by `leaving`.
    """
    y = start = schema.encode(source)
    for group in schema.groups:
        shares = {value: share for (name, value), share in target.shares.items() if name == group.name}
        for value, share in shares.items():
            y = y + share * (schema.encode({**source, group.name: value}) - start)
        excess = sum(shares.values()) - leaving(list(shares.values()))
        if excess > 0 and not group.binary:
            part = schema.slices[group.name]
            y[part] += excess * start[part]
    return y


def source_vector(model: TrainedGenerator, source: Mapping[str, str], y: Tensor) -> Tensor:
    """y_source (A,), as a model is told it that is asked for y (A,).

    0, which means unknown, where a moving generator is asked for just what the face shows: that it does so is often only
    assumed (`source_values`), and a face that does not would be left as it is.
    """
    y_source = model.schema.encode(source)
    unsure = isinstance(model.network, MovingGenerator) and torch.equal(y, y_source)
    return torch.zeros_like(y_source) if unsure else y_source


def leaving(shares: Sequence[float]) -> float:
    """How much of what a face shows is given up for several values with these shares: their sum, but at most 1, or the
    largest share if that exceeds 1."""
    return min(sum(shares), max(1.0, *shares)) if shares else 0.0


class Framed(Protocol):
    """What knows the framing of the crops that it takes: a trained generator, or a stand-in for one."""

    @property
    def image_size(self) -> int: ...

    @property
    def info(self) -> Mapping[str, Any]: ...


def framing(model: Framed) -> Framing:
    """How the model's training faces were framed in their crops; if it does not say, the framing of `lssl prepare`."""
    known = model.info.get("alignment")
    if not isinstance(known, dict):
        return Framing()
    return Framing(float(known.get("crop_scale", CROP_SCALE)), float(known.get("eye_line", EYE_LINE)))


def read_photograph(
    path: Path,
    model: Framed,
    source: dict[str, str],
    *,
    landmarks_dir: Path | None = None,
    largest_face: bool = False,
) -> InputFace:
    """Reads a photograph, finds and aligns its face. Raises LsslError and DetectionError as `read_portrait`.

    source: what it shows, see `source_values`. landmarks_dir: a folder of landmark files, or a single file.
    """
    portrait = read_portrait(path, landmarks=landmarks_dir, largest_face=largest_face)
    return aligned_face(path, portrait, model, source)


def aligned_face(path: Path, portrait: Portrait, model: Framed, source: dict[str, str]) -> InputFace:
    """The face of a photograph that has been read, aligned for a model. Raises LsslError as `Portrait.crop`."""
    frame = framing(model)
    try:
        crop, points, similarity = portrait.crop(model.image_size, frame.crop_scale, frame.eye_line)
    except LsslError as error:
        raise LsslError(f"{path}: {error}") from None
    return InputFace(path.stem, crop, points, source, portrait.image, similarity, portrait.landmarks, portrait.metadata)


def prepared_faces(folder: FaceFolder, model: TrainedGenerator) -> Iterator[InputFace]:
    """The faces of a data set folder, with what they show from its columns.

    Raises LsslError for pictures of another size than the model's, a missing column, and a value that the model lacks.
    """
    check_folder(folder, model)
    schema = model.schema
    for row in range(len(folder)):
        values = {group.name: folder.columns[group.name][row] for group in schema.groups}
        image = read_image(folder.image_path(row))
        if image.shape[:2] != (model.image_size, model.image_size):
            raise LsslError(
                f"{folder.image_path(row)} is {image.shape[1]}x{image.shape[0]}, but the model was trained at "
                f"{model.image_size}x{model.image_size}; prepare the folder with --size {model.image_size}"
            )
        points = None if folder.landmarks is None else folder.landmarks[row]
        yield InputFace(Path(folder.file_names[row]).stem, image, points, values)


def check_folder(folder: FaceFolder, model: TrainedGenerator) -> None:
    """Raises LsslError if the folder lacks a column, a value's class or the landmarks that the model needs."""
    for group in model.schema.groups:
        if group.name not in folder.columns:
            raise LsslError(
                f"{folder.root}/metadata.csv has no column '{group.name}', which the model's attributes need"
            )
        for value in set(folder.columns[group.name]):
            group.index(value)
    if model.network.side_channels and folder.landmarks is None:
        raise LsslError(f"{folder.root} has no landmarks.npy, which this model's side image needs")


@torch.inference_mode()
def translate_batch(
    model: TrainedGenerator, faces: Sequence[InputFace], targets: Sequence[Target | Blend]
) -> list[NDArray[np.uint8]]:
    """Translates each face to its own target, in one batch; returns uint8 pictures (S, S, 3)."""
    device = next(model.parameters()).device
    image = to_float(torch.from_numpy(np.stack([f.image for f in faces])).permute(0, 3, 1, 2).to(device))
    landmarks = None
    if model.network.side_channels:
        points = [f.landmarks for f in faces if f.landmarks is not None]
        if len(points) < len(faces):
            raise LsslError("this generator was trained with landmark heatmaps: give landmarks for every face")
        landmarks = torch.from_numpy(np.stack(points)).to(device)
    y = torch.stack([target_vector(model.schema, f.source, t) for f, t in zip(faces, targets, strict=True)])
    y_source = torch.stack([source_vector(model, f.source, own) for f, own in zip(faces, y, strict=True)])
    output = model.translate(image, landmarks, y.to(device), y_source.to(device))
    return list(to_uint8(output).permute(0, 2, 3, 1).cpu().numpy())


def translate_all(
    model: TrainedGenerator, faces: Sequence[InputFace], targets: Sequence[Target], *, batch_size: int = 16
) -> list[list[NDArray[np.uint8]]]:
    """Translates each face to each target; returns for each face a list of uint8 pictures (S, S, 3)."""
    results: list[list[NDArray[np.uint8]]] = [[] for _ in faces]
    for start in range(0, len(faces), batch_size):
        chunk = faces[start : start + batch_size]
        for target in targets:
            for k, picture in enumerate(translate_batch(model, chunk, [target] * len(chunk))):
                results[start + k].append(picture)
    return results


def paste_back(face: InputFace, translated: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The whole photograph with the translated face in it, feathered, as sharp as the photograph.

    The generator's change is added to the photograph, so that what it does not change keeps the photograph's fine detail;
    where the change is large (a mouth that opened), the generator's pixels replace it, or the old mouth would show
    through. Raises ValueError for a face that was not read from a photograph.
    """
    if face.photograph is None or face.similarity is None or face.landmarks is None:
        raise ValueError(f"{face.name} was not read from a photograph")
    photograph = face.photograph
    height, width = photograph.shape[:2]
    size = translated.shape[0]
    before, after = face.image.astype(np.float32), translated.astype(np.float32)
    change = np.abs(after - before).max(2)
    replaced = _blur(np.clip((change - 18) / 40, 0, 1), size / 48)
    alpha = face_feather(face.landmarks, size)
    corners = np.array([[-0.5, -0.5], [size - 0.5, -0.5], [-0.5, size - 0.5], [size - 0.5, size - 0.5]])
    inverse = face.similarity.inverse()
    inside = corners @ inverse.matrix.T + inverse.offset
    low = np.clip(np.floor(inside.min(0)).astype(int) - 1, 0, [width - 1, height - 1])
    high = np.clip(np.ceil(inside.max(0)).astype(int) + 2, 1, [width, height])
    window = photograph[low[1] : high[1], low[0] : high[0]].astype(np.float32)

    def to_window(planes: NDArray[np.float32]) -> NDArray[np.float32]:
        assert face.similarity is not None
        return _resample(planes, face.similarity, low, window.shape[:2])

    detail = window - to_window(before)
    feather = to_window(alpha[..., None])
    strength = to_window(replaced[..., None])
    new = to_window(after) + (1 - strength) * detail
    mixed = window + feather * (new - window)
    result = photograph.copy()
    result[low[1] : high[1], low[0] : high[0]] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return result


def face_feather(landmarks: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """A mask (size, size) in [0, 1]: 1 on the face and a little around it, falling softly to 0 before the crop's border."""
    mask = landmark_mask(landmarks, (size, size)) > 0
    grown = _blur(mask.astype(np.float32), size / 20)
    soft = _blur(np.clip(grown * 2.5, 0, 1), size / 40)
    border = np.minimum(np.arange(size), np.arange(size)[::-1]) / (size / 16)
    edge = np.clip(np.minimum(border[None], border[:, None]), 0, 1)
    return (soft * edge).astype(np.float32)


def _blur(values: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    picture = Image.fromarray((np.clip(values, 0, 1) * 255).astype(np.uint8))
    blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32)
    return (blurred / 255).astype(np.float32)


def _resample(
    planes: NDArray[np.float32], similarity: Similarity, low: NDArray[np.int_], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """The crop's planes (S, S, C), resampled to a window of the photograph that starts at `low`: bicubic, border repeated."""
    size = planes.shape[0]
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float64)
    at = np.stack([x + low[0], y + low[1]], -1) @ similarity.matrix.T + similarity.offset
    grid = torch.from_numpy((2 * (at + 0.5) / size - 1).astype(np.float32))[None]
    values = torch.from_numpy(np.ascontiguousarray(planes)).permute(2, 0, 1)[None].float()
    sampled = torch.nn.functional.grid_sample(values, grid, mode="bicubic", padding_mode="border", align_corners=False)
    return sampled[0].permute(1, 2, 0).numpy()


def _value_name(schema: AttributeSchema, group: str, value: str) -> str:
    shared = sum(value in other.values for other in schema.groups) > 1
    if schema.group(group).binary:
        return group if value == schema.group(group).values[1] else f"{group} {value}"
    return f"{group} {value}" if shared or _is_number(value) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

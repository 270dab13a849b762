"""Uses a trained pose normalizer: from simulated frontal faces and their photographs to realistic frontal faces."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lssl.data import FaceFolder, FaceFolderWriter, FaceRow, to_float, to_uint8
from lssl.data.folder import check_images
from lssl.data.images import read_image
from lssl.data.pairs import check_pairs, kept_attributes
from lssl.data.writer import write_image, write_pictures
from lssl.errors import LsslError
from lssl.models.export import TrainedGenerator, load_generator

TASK = "pose-normalization"
#: Faces are normalized in fixed groups of this size, so that a run that is stopped and repeated gives the same bits.
GROUP = 32


def load_normalizer(path: str | Path, device: torch.device | str = "cpu") -> TrainedGenerator:
    """As `load_generator`, but raises LsslError for a generator of another task."""
    model = load_generator(path, device)
    if model.task != TASK:
        raise LsslError(
            f"{path} was trained for {model.task}, but normalizing needs a generator of `lssl train --method pose`"
        )
    return model


@torch.inference_mode()
def normalize_faces(
    model: TrainedGenerator,
    simulated: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
    photographs: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
    *,
    to: Mapping[str, str] | None = None,
    batch_size: int = GROUP,
) -> NDArray[np.uint8]:
    """Makes simulated frontal faces realistic.

    Args:
        model: from `load_normalizer`.
        simulated: uint8 (N, S, S, 3), what `render_frontal` drew; S is the model's `image_size`.
        photographs: uint8 (N, S, S, 3), the aligned photographs that they were drawn from.
        to: attributes to change, such as {"expression": "happy"}; the others stay as in the photograph.

    Returns uint8 (N, S, S, 3). No label of the photographs is used. Raises ValueError for other sizes, LsslError for
    a generator of another task, and for an unknown attribute or value.
    """
    if model.task != TASK:
        raise LsslError(f"a generator for {model.task} cannot normalize the pose")
    size = (model.image_size, model.image_size, 3)
    for name, pictures in (("simulated", simulated), ("photographs", photographs)):
        if len(pictures) and tuple(np.asarray(pictures[0]).shape) != size:
            raise ValueError(f"{name}: expected pictures of shape {size}, got {np.asarray(pictures[0]).shape}")
    if len(simulated) != len(photographs):
        raise ValueError(f"{len(simulated)} simulated faces, but {len(photographs)} photographs")
    device = next(model.parameters()).device
    y = kept_attributes(model.schema)
    for group, value in (to or {}).items():
        y = model.schema.with_value(y, group, value)
    results = []
    for start in range(0, len(simulated), batch_size):
        image = _to_tensor(simulated[start : start + batch_size], 3).to(device)
        side = None
        if model.network.side_channels:
            side = _to_tensor(photographs[start : start + batch_size], model.network.side_channels).to(device)
        fake = model(image, side, y.to(device).expand(len(image), -1))[0]
        results.append(to_uint8(fake).permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(results) if results else np.zeros((0, *size), np.uint8)


def check_simulated(folder: FaceFolder, model: TrainedGenerator) -> None:
    """Raises LsslError if the folder lacks its faces' photographs (side/), or has pictures of another size than the model."""
    check_pairs(folder)
    for row in range(len(folder)):
        if not folder.side_path(row).is_file():
            raise LsslError(f"{folder.side_path(row)}: the photograph is missing")
    size = check_images(folder)
    if size != (model.image_size, model.image_size):
        raise LsslError(
            f"{folder.root} has pictures of {size[1]}x{size[0]}, but the model was trained at "
            f"{model.image_size}x{model.image_size}; draw them with `lssl render-frontal --size {model.image_size}`"
        )


def normalize_folder(
    model: TrainedGenerator,
    folder: FaceFolder,
    writer: FaceFolderWriter,
    *,
    to: Mapping[str, str] | None = None,
    on_done: Callable[[int], None] | None = None,
) -> None:
    """Normalizes those faces of a folder written by `lssl render-frontal` that `writer` does not have yet.

    Writes images/ (normalized), side/ (photographs) and comparisons/ (photograph, simulated, normalized); landmarks,
    attributes and further columns are the folder's, except what `to` changes. on_done is called with 1 after each face.
    """
    rows = [range(len(folder))[start : start + GROUP] for start in range(0, len(folder), GROUP)]
    for group in rows:
        keys = [Path(folder.file_names[row]).stem for row in group]
        if all(key in writer for key in keys):
            continue
        simulated = [read_image(folder.image_path(row)) for row in group]
        photographs = [read_image(folder.side_path(row)) for row in group]
        normalized = normalize_faces(model, simulated, photographs, to=to)
        for key, row, frontal, photograph, face in zip(keys, group, simulated, photographs, normalized, strict=True):
            if key in writer:
                continue
            write_image(writer.root / "comparisons" / f"{key}.png", np.concatenate([photograph, frontal, face], 1))
            writer.append(write_pictures(writer.root, _row(folder, row, key, face, photograph, to), writer.attributes))
            if on_done is not None:
                on_done(1)


def parse_changes(model: TrainedGenerator, text: str) -> dict[str, str]:
    """What a user wrote, such as `happy` or `expression=happy,lighting=dark`, as `normalize_faces` takes it.

    Raises LsslError for an unknown value, and if the model learnt to keep all attributes.
    """
    changes: dict[str, str] = {}
    for word in text.split(","):
        if word.strip():
            group, value = model.schema.find(word.strip())
            if group in changes:
                raise LsslError(f"'{text}' asks for two values of {group}")
            changes[group] = value
    if changes and model.info.get("keep") == 1:
        raise LsslError(
            "this model cannot change attributes: it was trained with pose.keep = 1. Train one with "
            "`--set pose.keep=0.5` for that"
        )
    return changes


def _row(
    folder: FaceFolder,
    row: int,
    key: str,
    face: NDArray[np.uint8],
    photograph: NDArray[np.uint8],
    to: Mapping[str, str] | None,
) -> FaceRow:
    attributes = {name: folder.columns[name][row] for name in folder.attributes}
    extra = {name: values[row] for name, values in folder.columns.items() if name not in folder.attributes}
    changed = {name: value for name, value in (to or {}).items() if name in attributes}
    return FaceRow(
        key,
        face,
        folder.subjects[row],
        folder.splits[row],
        {**attributes, **changed},
        landmarks=None if folder.landmarks is None else folder.landmarks[row],
        side=photograph,
        extra=extra,
    )


def _to_tensor(pictures: NDArray[np.uint8] | Sequence[NDArray[np.uint8]], channels: int) -> torch.Tensor:
    """uint8 (N, S, S, 3) to float (N, channels, S, S) in [-1, 1]; a single channel is grey, as in `FaceDataset`."""
    if channels == 1:
        grey = np.stack([np.asarray(Image.fromarray(np.asarray(picture)).convert("L")) for picture in pictures])
        return to_float(torch.from_numpy(grey)[:, None])
    return to_float(torch.from_numpy(np.stack([np.asarray(p) for p in pictures])).permute(0, 3, 1, 2))

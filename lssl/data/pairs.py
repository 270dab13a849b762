"""Folders of pairs, as `lssl render-frontal` writes them: a simulated frontal face, and the photograph it came from."""

from dataclasses import replace

import torch
from torch import Tensor

from lssl.data.folder import FaceFolder
from lssl.data.schema import AttributeSchema
from lssl.errors import LsslError


def check_pairs(folder: FaceFolder) -> None:
    """Raises LsslError if the folder lacks the photographs that belong to its simulated faces."""
    if not (folder.root / "side").is_dir():
        raise LsslError(
            f"{folder.root} has no side/, the photographs that its faces came from: pose normalization needs a folder "
            "that `lssl render-frontal` wrote"
        )


def frontal_attributes(folder: FaceFolder) -> tuple[str, ...]:
    """The attributes that a simulated frontal face still has: all with several values except yaw, which is now 0."""
    return tuple(name for name in folder.varying_attributes() if name != "yaw")


def near_frontal_photographs(folder: FaceFolder, limit: float, least: int) -> FaceFolder:
    """The photographs (side/) as pictures: those within `limit` degrees of yaw, or all if those are under `least`."""
    yaws = folder.columns.get("yaw", [""] * len(folder))
    rows = [row for row, text in enumerate(yaws) if (yaw := _degrees(text)) is not None and abs(yaw) <= limit]
    chosen = folder.select(rows if len(rows) >= least else range(len(folder)))
    return replace(chosen, file_names=[f"side/{chosen.side_path(row).name}" for row in range(len(chosen))])


def kept_attributes(schema: AttributeSchema) -> Tensor:
    """The target (A,) that says "as in the photograph": no value of a categorical group, half of a binary one."""
    y = torch.zeros(schema.dimension)
    for group in schema.groups:
        if group.binary:
            y[schema.slices[group.name]] = 0.5
    return y


def spread_groups(values: Tensor, schema: AttributeSchema) -> Tensor:
    """Repeats the value of each group (N, groups) for the group's elements of y: (N, A)."""
    sizes = torch.tensor([schema.slices[g.name].stop - schema.slices[g.name].start for g in schema.groups])
    return values.repeat_interleave(sizes.to(values.device), dim=1)


def _degrees(text: str) -> float | None:
    """The first view's yaw in a `yaw` column; None if it is empty or not a number."""
    try:
        return float(text.split()[0])
    except (ValueError, IndexError):
        return None

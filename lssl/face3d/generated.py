"""Generated faces as a data set folder on disk, and as a data set that renders when asked."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from lssl.data.schema import AttributeSchema
from lssl.data.writer import FaceFolderWriter, FaceRow, write_pictures
from lssl.face3d.generate import Cell, FaceGenerator, GeneratedFace

ATTRIBUTES = ("expression", "yaw", "lighting")
BATCH = 16


def cell_attributes(cell: Cell) -> dict[str, str]:
    return {"expression": cell.expression, "yaw": f"{cell.yaw:g}", "lighting": cell.lighting}


def write_generated(
    root: str | Path,
    generator: FaceGenerator,
    *,
    model: str,
    overwrite: bool = False,
    progress: bool = False,
    extra_settings: Mapping[str, Any] | None = None,
) -> int:
    """Write all cells to a data set folder (lssl/data/folder.py), with landmarks and part masks; the number of rows.

    model: says which face model this is; a folder begun with another model, or other settings, is refused (FolderError)
    and one begun with the same goes on where it stopped. Further columns: the exact pose in degrees (`yaw_degrees`,
    `pitch_degrees`, `roll_degrees`), `intensity` of the expression, `visible`: a letter a landmark, v or h (hidden), and
    `hair` where it is not the model's own.
    """
    settings = {"source": "generate-faces", "model": model, **asdict(generator.config), **(extra_settings or {})}
    if generator.config.hair == ("model",):
        del settings["hair"]  # a folder begun before there was a choice goes on
    writer = FaceFolderWriter(root, attributes=ATTRIBUTES, settings=settings, overwrite=overwrite)
    cells = generator.cells
    if writer.finished:
        return len(cells)
    # A batch is rendered whole or not at all, so that a face has the same bits after an interruption.
    batches = [cells[start : start + BATCH] for start in range(0, len(cells), BATCH)]
    pending = [batch for batch in batches if any(cell.key not in writer for cell in batch)]

    def make(batch: list[Cell]) -> list[dict[str, Any]]:
        faces = [face for face in generator.render(batch) if face.cell.key not in writer]
        return [write_pictures(writer.root, _row(face, generator), ATTRIBUTES) for face in faces]

    with (
        tqdm(total=len(cells), initial=len(writer), desc="Generating", unit="face", disable=not progress) as bar,
        _batch_workers() as pool,
    ):
        for entries in pool.map(make, pending):
            for entry in entries:
                writer.append(entry)
            bar.update(len(entries))
    return writer.finish()


@contextmanager
def _batch_workers() -> Iterator[ThreadPoolExecutor]:
    """A thread a core, each with one thread inside PyTorch: batches are independent, small operations split badly, and
    the bits do not depend on the number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _row(face: GeneratedFace, generator: FaceGenerator) -> FaceRow:
    return FaceRow(
        key=face.cell.key,
        image=np.ascontiguousarray(face.image.permute(1, 2, 0).numpy()),
        subject=f"{face.cell.subject:05d}",
        split=generator.split(face.cell.subject),
        attributes=cell_attributes(face.cell),
        landmarks=face.landmarks.numpy(),
        mask=face.mask.numpy(),
        extra={
            "yaw_degrees": f"{face.yaw:.3f}",
            "pitch_degrees": f"{face.pitch:.3f}",
            "roll_degrees": f"{face.roll:.3f}",
            "intensity": f"{face.intensity:.3f}",
            "visible": "".join("v" if seen else "h" for seen in face.visible.tolist()),
            **({} if generator.config.hair == ("model",) else {"hair": generator.hair(face.cell.subject)}),
        },
    )


class GeneratedFaces(Dataset[dict[str, Any]]):
    """Faces rendered when asked for, without a folder: item i is cell i of the generator.

    An item: `image` uint8 (3, H, W); `y` float32 (attributes), as `FaceDataset` gives; `landmarks` float32 (68, 2);
    `mask` uint8 (H, W); `row`. split: `train`, `test`, or None for both.
    schema: the attributes of y; by default those of the generator that take more than one value.
    """

    def __init__(
        self, generator: FaceGenerator, *, split: str | None = None, schema: AttributeSchema | None = None
    ) -> None:
        self.generator = generator
        cells = generator.cells
        columns = {name: [cell_attributes(cell)[name] for cell in cells] for name in ATTRIBUTES}
        varying = {name: values for name, values in columns.items() if len(set(values)) > 1}
        self.schema = AttributeSchema.from_columns(varying) if schema is None else schema
        kept = [n for n, cell in enumerate(cells) if split in (None, generator.split(cell.subject))]
        self.cells = [cells[n] for n in kept]
        self.y = self.schema.encode_columns({name: [values[n] for n in kept] for name, values in columns.items()})

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: list[int]) -> list[dict[str, Any]]:
        """Several items rendered as one batch; PyTorch's loader calls this."""
        faces = self.generator.render([self.cells[row] for row in rows])
        return [
            {
                "image": face.image,
                "y": self.y[row],
                "landmarks": face.landmarks.to(torch.float32),
                "mask": face.mask,
                "row": row,
            }
            for row, face in zip(rows, faces, strict=True)
        ]

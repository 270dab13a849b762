"""Generated faces as a data set folder on disk."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lssl.data.how_long import HowLong
from lssl.data.writer import FaceFolderWriter, FaceRow, write_pictures
from lssl.face3d.generate import Cell, FaceGenerator, GeneratedFace
from lssl.progress import tqdm

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
    say: Callable[[str], None] | None = None,
    extra_settings: Mapping[str, Any] | None = None,
) -> int:
    """Writes all cells to a data set folder (lssl/data/folder.py), with landmarks and part masks; returns their number.

    model: identifies the face model; a folder begun with another model or other settings is refused (LsslError), and
    one begun with the same is continued. Further columns: the exact pose in degrees (`yaw_degrees`, `pitch_degrees`,
    `roll_degrees`), `intensity` of the expression, `visible` (one letter per landmark, v or h for hidden), and `hair`
    if it is not always the model's own. say: called with how long it will take, once that is known.
    """
    settings = {"source": "generate-faces", "model": model, **asdict(generator.config), **(extra_settings or {})}
    if generator.config.hair == ("model",):
        del settings["hair"]  # so that a folder begun before there was a choice can be continued
    writer = FaceFolderWriter(root, attributes=ATTRIBUTES, settings=settings, overwrite=overwrite)
    cells = generator.cells
    if writer.finished:
        return len(cells)
    # A batch is rendered whole or not at all, so that a face has the same bits after an interruption, too.
    batches = [cells[start : start + BATCH] for start in range(0, len(cells), BATCH)]
    pending = [batch for batch in batches if any(cell.key not in writer for cell in batch)]

    def make(batch: list[Cell]) -> list[dict[str, Any]]:
        faces = [face for face in generator.render(batch) if face.cell.key not in writer]
        return [write_pictures(writer.root, _row(face, generator), ATTRIBUTES) for face in faces]

    how_long = HowLong(say, len(cells), len(writer), unit="faces")
    with (
        tqdm(total=len(cells), initial=len(writer), desc="Generating", unit="face", disable=not progress) as bar,
        _batch_workers() as pool,
    ):
        for entries in pool.map(make, pending):
            for entry in entries:
                writer.append(entry)
            bar.update(len(entries))
            how_long.advance(len(entries))
    return writer.finish()


@contextmanager
def _batch_workers() -> Iterator[ThreadPoolExecutor]:
    """One thread per core, each with one thread inside PyTorch: batches are independent, small operations do not split
    well, and so the bits do not depend on the number of cores."""
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

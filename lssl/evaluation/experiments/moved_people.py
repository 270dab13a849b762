"""More expressions than the photographs have: neutral photographs of real people, moved to every class by the 3D edit."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lssl.data import AttributeGroup, FaceFolder, FaceFolderWriter, FaceRow, read_metadata
from lssl.data.images import read_image
from lssl.errors import LsslError
from lssl.inference.model_edit import GROUP, ModelEditor
from lssl.inference.synthesis import InputFace, Target
from lssl.inference.synthesizers import NEUTRAL

#: `--simulated` of `lssl evaluate domain-adaptation`: these faces in place of drawn ones.
MOVED = "3d"
_STRENGTHS = (0.8, 1.2)


def check_moved(editor: ModelEditor, folder: FaceFolder, group: AttributeGroup) -> None:
    """Raises LsslError if neutral photographs of the folder cannot be moved to the classes of `group`."""
    if folder.landmarks is None:
        raise LsslError(f"{folder.root} has no landmarks.npy, which the 3D edit needs; make it with `lssl prepare`")
    known = editor.schema.group(GROUP).values
    for value in group.values:
        if value not in known:
            raise LsslError(f"the 3D edit has no expression '{value}' (it has: {', '.join(known)})")
    if NEUTRAL not in group.values:
        raise LsslError(f"no face of {folder.root} is '{NEUTRAL}', where the 3D edit begins")


def write_moved(
    editor: ModelEditor, people: FaceFolder, group: AttributeGroup, out: Path, *, versions: int = 2, seed: int = 0
) -> FaceFolder:
    """Moves each neutral photograph of `people` to every class, `versions` times with a strength of 0.8 to 1.2, and keeps it
    as often for the class neutral. Their photographs of other classes are not used.

    Subjects keep their names. A person whom the face model does not fit is left out. Resumes where an earlier call stopped.
    Raises LsslError if nobody is left.
    """
    writer = FaceFolderWriter(
        out, attributes=[group.name], settings={"source": MOVED, "seed": seed, "versions": versions}
    )
    if not writer.finished:
        for row in people.rows_where(**{group.name: NEUTRAL}):
            for face in _moved(editor, people, row, group, versions, seed):
                if face.key not in writer:
                    writer.add(face)
        writer.finish(source=MOVED)
    made = read_metadata(out, attributes=[group.name])
    if not len(made):
        raise LsslError(f"{people.root}: the face model fits no '{NEUTRAL}' face")
    return made


def _moved(
    editor: ModelEditor, people: FaceFolder, row: int, group: AttributeGroup, versions: int, seed: int
) -> Iterator[FaceRow]:
    image = read_image(people.image_path(row))
    chance = np.random.default_rng([seed, zlib.crc32(people.file_names[row].encode())])
    assert people.landmarks is not None
    face = InputFace(people.file_names[row], image, people.landmarks[row], {GROUP: NEUTRAL})
    values = [value for value in group.values if value != NEUTRAL for _ in range(versions)]
    strengths = chance.uniform(*_STRENGTHS, len(values)).round(3).tolist()
    targets = [Target({GROUP: value}, strength, value) for value, strength in zip(values, strengths, strict=True)]
    try:
        pictures = editor.edit_face(face, targets)
    except LsslError:  # the model does not fit
        return
    values, pictures = values + [NEUTRAL] * versions, [*pictures, *[image] * versions]
    for number, (value, picture) in enumerate(zip(values, pictures, strict=True)):
        extra = {"made_from": people.file_names[row]}
        yield FaceRow(
            f"{row:06d}_{number:03d}", picture, people.subjects[row], "train", {group.name: value}, extra=extra
        )

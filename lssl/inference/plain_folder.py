"""Turns photographs into a data set folder for a trained generator, as `lssl augment` does with a plain folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lssl.data import detect
from lssl.data.folder import METADATA, FaceFolder, read_metadata
from lssl.data.landmark_files import find_landmark_file
from lssl.data.picture_files import find_pictures
from lssl.data.portrait import existing_path, safe_name
from lssl.data.prepare import PrepareOptions, prepare
from lssl.data.readers.source import Listing, SourceRecord, with_unique_keys
from lssl.data.tables import same_name
from lssl.errors import LsslError
from lssl.inference.synthesis import framing, source_values
from lssl.models.export import TrainedGenerator


def open_faces(
    data: Path, model: TrainedGenerator, prepared: Path, say: Callable[[str], None] = lambda text: None
) -> FaceFolder:
    """Opens a data set folder as it is; prepares a photograph, or a folder of photographs, to the folder `prepared` first,
    aligned like the model's training faces.

    What a picture shows is taken from the names of the folders it lies in, if they are values of the model, and otherwise
    from `source_values`. All pictures get the split train. Raises LsslError if there is no picture, if all are taken to show
    the same, or if landmarks are missing and dlib is not installed.
    """
    data = existing_path(data)
    if (data / METADATA).is_file():
        return read_metadata(data)
    files = find_pictures(data).pictures if data.is_dir() else [data]
    root = data if data.is_dir() else data.parent
    if not files:
        raise LsslError(f"{data} holds no picture that can be read, and no {METADATA} either")
    plain = source_values(model, ())
    records = []
    for path in files:
        parts = path.relative_to(root).parts
        values = dict(plain)
        for name in map(same_name, parts[:-1]):
            if model.schema.knows(name):
                group, value = model.schema.find(name)
                values[group] = value
        key, subject = safe_name("_".join([*parts[:-1], path.stem])), same_name(path.stem)
        record = SourceRecord(key, path, subject, values, split="train")
        records.append(replace(record, landmarks=find_landmark_file(path)))
    listing = Listing(sorted(with_unique_keys(records), key=lambda record: record.key))
    if all(record.columns == records[0].columns for record in records):
        shown = " and ".join(records[0].columns.values())
        raise LsslError(
            f"{data}: all {len(records)} photographs are taken to show {shown}, so there is none to change into that; put "
            f"them into folders named after what they show ({', '.join(model.schema.groups[0].values[:3])})"
        )
    if not detect.available() and (bare := [record.path for record in listing.records if record.needs_detector]):
        raise detect.DetectionError(f"{bare[0]} has no landmark file; {detect.EXTRA_MISSING}")
    taken = ", ".join(f"{name} {value}" for name, value in plain.items())
    say(f"{data}: {len(files)} photographs, prepared to {prepared}; unless a folder's name says otherwise, {taken}")
    options = PrepareOptions(model.image_size, framing(model).crop_scale, test_fraction=0)
    report = prepare("folder", root, prepared, options, listing=listing)
    if report.rejected:
        what, why = report.rejected[0]
        say(f"{len(report.rejected)} photographs are left out ({what}: {why})")
    return read_metadata(prepared)

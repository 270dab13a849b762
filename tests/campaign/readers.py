"""The readers of users' files, each with good files to begin from, and the errors they may raise."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from lssl.errors import LsslError

#: What a reader may raise: an LsslError, whose message is for the user, or an error of the system that names a file.
EXPECTED = (LsslError, OSError)


@dataclass(frozen=True)
class Reader:
    """kind: the file's name. seeds: good files. read: reads the file at a path, as a command does."""

    kind: str
    seeds: tuple[bytes, ...]
    read: Callable[[Path], Any]


def readers(folder: Path) -> list[Reader]:
    """All of them; `folder` holds what must exist beside the files."""
    from lssl.data.folder import FaceFolder, check_images, read_metadata
    from lssl.data.images import read_picture
    from lssl.data.landmark_files import read_landmarks
    from lssl.data.readers.folder import scan
    from lssl.face3d.model.bilinear import BilinearFaceModel
    from lssl.face3d.model.marks import read_landmark_vertices, read_parts
    from lssl.face3d.model.meshes import read_mesh
    from lssl.models.classifier import load_classifier
    from lssl.models.export import load_generator
    from lssl.training.checkpoint import load_checkpoint
    from lssl.training.config import TrainConfig

    _write_faces(folder)

    def metadata(path: Path) -> None:
        (folder / "metadata.csv").write_bytes(path.read_bytes())
        read_metadata(folder)
        scan(folder)

    def landmark_array(path: Path) -> None:
        (folder / "metadata.csv").write_bytes(_metadata())
        (folder / "landmarks.npy").write_bytes(path.read_bytes())
        try:
            read_metadata(folder)
        finally:
            (folder / "landmarks.npy").unlink()

    def description(path: Path) -> None:
        (folder / "metadata.csv").write_bytes(_metadata())
        (folder / "dataset.json").write_bytes(path.read_bytes())
        try:
            read_metadata(folder)
        finally:
            (folder / "dataset.json").unlink()

    def prepared_picture(path: Path) -> None:
        check_images(FaceFolder(path.parent, [path.name], ["a"], ["train"], {}, ()))

    pictures = _pictures()
    return [
        *(Reader(kind, seeds, read_picture) for kind, seeds in pictures.items()),
        Reader("b.png", pictures["a.png"], prepared_picture),
        Reader("a.csv", _tables(), read_landmarks),
        Reader("a.pts", (_points("{x} {y}\n", "version: 1\nn_points: 68\n{{\n", "}}\n"),), read_landmarks),
        Reader("metadata.csv", (_metadata(),), metadata),
        Reader("landmarks.npy", (_array(),), landmark_array),
        Reader("dataset.json", (json.dumps({"attributes": ["mood"], "size": [16, 16]}).encode(),), description),
        Reader("a.obj", _meshes("obj"), read_mesh),
        Reader("a.ply", _meshes("ply"), read_mesh),
        Reader("marks.txt", (" ".join(map(str, range(68))).encode(),), read_landmark_vertices),
        Reader("parts.txt", (b"skin\nlips\nsclera\n",), read_parts),
        Reader("model.npz", (_face_model(),), BilinearFaceModel.load),
        Reader("generator.safetensors", (_generator(folder),), load_generator),
        Reader("classifier.safetensors", (_generator(folder),), load_classifier),
        Reader("iteration_00000001.pt", (_checkpoint(),), load_checkpoint),
        Reader("config.toml", (TrainConfig.preset("quick").to_toml().encode(),), TrainConfig.load),
    ]


def _pictures() -> dict[str, tuple[bytes, ...]]:
    """Good picture files by name."""
    forms: dict[str, list[tuple[str, dict[str, Any]]]] = {
        "a.jpg": [("JPEG", {}), ("JPEG", {"progressive": True}), ("JPEG", {"exif": _exif()})],
        "a.png": [("PNG", {}), ("PNG", {"mode": "P"}), ("PNG", {"mode": "I;16"}), ("PNG", {"mode": "RGBA"})],
        "a.tif": [("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"mode": "F"})],
        "a.webp": [("WEBP", {})],
        "a.gif": [("GIF", {})],
        "a.bmp": [("BMP", {})],
        "a.tga": [("TGA", {})],
    }
    return {kind: tuple(_picture(form, **options) for form, options in made) for kind, made in forms.items()}


def _pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)


def _picture(form: str, mode: str = "RGB", **options: Any) -> bytes:
    pixels = _pixels()
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 4)
    elif mode == "F":
        image = Image.fromarray(pixels[..., 0].astype(np.float32))
    else:
        image = Image.fromarray(pixels).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a face"
    return exif


def _points(form: str, before: str = "", after: str = "") -> bytes:
    points = np.random.default_rng(0).uniform(10, 90, (68, 2)).round(2)
    rows = "".join(form.format(k=k, x=x, y=y) for k, (x, y) in enumerate(points.tolist()))
    return (before.replace("{{", "{") + rows + after.replace("}}", "}")).encode()


def _tables() -> tuple[bytes, ...]:
    return (
        _points("{x},{y}\n"),
        _points("{k},{x},{y}\n", ",x,y\n"),
        _points("{y};{x}\n", "y;x\n"),
        _points("{x},{y}\n", "x,y\n").decode().encode("utf-16"),
    )


def _write_faces(folder: Path) -> None:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name in "abcd":
        Image.fromarray(_pixels()[:16, :16]).save(folder / "images" / f"{name}.png")


def _metadata() -> bytes:
    rows = [f"images/{name}.png,{name},{split},{mood}" for name, split, mood in
            (("a", "train", "happy"), ("b", "train", "sad"), ("c", "test", "happy"), ("d", "test", "sad"))]  # fmt: skip
    return "\n".join(["file_name,subject,split,mood", *rows, ""]).encode()


def _array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((4, 68, 2), np.float32))
    return buffer.getvalue()


def _meshes(kind: str) -> tuple[bytes, ...]:
    corners = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]
    if kind == "obj":
        return (
            b"v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/1 \\\n 4/1\n",
            b"v 0 0 0 1 0 0\nv 1 0 0 0 1 0\nv 1 1 0 0 0 1\nf -3 -2 -1\n",
        )
    head = "ply\nformat {} 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
    head += "element face 2\nproperty list uchar int vertex_indices\nend_header\n"
    text = "".join(f"{x} {y} {z}\n" for x, y, z in corners) + "3 0 1 2\n4 0 1 2 3\n"
    faces = b"".join(bytes([len(f)]) + np.array(f, "<i4").tobytes() for f in ([0, 1, 2], [0, 1, 2, 3]))
    binary = np.array(corners, "<f4").tobytes() + faces
    return head.format("ascii").encode() + text.encode(), head.format("binary_little_endian").encode() + binary


def _face_model() -> bytes:
    from lssl.face3d.builtin import load_face_model

    path = Path("/dev/null")
    buffer = io.BytesIO()
    del path
    model = load_face_model("embedded")
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "m.npz")
        buffer.write((Path(folder) / "m.npz").read_bytes())
    return buffer.getvalue()


def _generator(folder: Path) -> bytes:
    from lssl.data import AttributeGroup, AttributeSchema
    from lssl.models import Generator
    from lssl.models.export import TrainedGenerator, save_generator

    torch.manual_seed(0)
    schema = AttributeSchema((AttributeGroup("mood", ("happy", "sad")),))
    path = folder / "generator.safetensors"
    save_generator(path, TrainedGenerator(Generator(2, 3, 1, 4, 1, 1), schema, 16))
    data = path.read_bytes()
    path.unlink()
    return data


def _checkpoint() -> bytes:
    buffer = io.BytesIO()
    torch.save({"format": 2, "iteration": 1, "networks": {"g": {"w": torch.zeros(3)}}}, buffer)
    return buffer.getvalue()

"""What three commands draw, pinned: a change of the code that should change nothing is checked to change nothing.

Stored: the mean colour of 4 x 4 pixels, and the landmarks. Other processors round differently, hence the tolerance;
`LSSL_EXACT_PINS=1` compares the bytes of the pictures, which hold on one machine. A commit that is meant to change
these pictures stores new ones (`LSSL_WRITE_PINS=1 pytest tests/pins`) and says so.
"""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from lssl import load_generator
from lssl.cli.main import main
from lssl.data import AttributeGroup, AttributeSchema, read_metadata
from lssl.data.landmark_files import write_pts
from lssl.models import Generator
from lssl.models.export import TrainedGenerator, save_generator

PINS = Path(__file__).with_name("commands.npz")
SIDE = 48
GREY_LEVELS = 1.5
PIXELS = 0.05


def run(*arguments) -> None:
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exit_code == 0, result.output


def means(path: Path) -> np.ndarray:
    """The picture's mean colours over 4 x 4 pixels, in half grey levels as float16."""
    pixels = np.asarray(Image.open(path).convert("RGB"), np.float32)
    rows, columns = (side // 4 * 4 for side in pixels.shape[:2])
    blocks = pixels[:rows, :columns].reshape(rows // 4, 4, columns // 4, 4, 3)
    return np.rint(2 * blocks.mean((1, 3))).astype(np.float16) / 2


def pictures(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.png"))}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("pins") / "faces"
    run(
        "generate-faces",
        out,
        "--subjects",
        2,
        "--expressions",
        "neutral,happy",
        "--yaw",
        "0,-30",
        "--size",
        SIDE,
        "--force",
    )
    return out


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("pins") / "generator.safetensors"
    schema = AttributeSchema((AttributeGroup("expression", ("neutral", "happy")),))
    save_generator(path, TrainedGenerator(Generator(2, 3, 1, 8, 2, 1), schema, 32))
    load_generator(path)
    return path


def compare(command: str, found: dict[str, Path], landmarks: np.ndarray | None = None) -> None:
    """Against the pins of `command`, or, where LSSL_WRITE_PINS=1, into them."""
    pins = dict(np.load(PINS)) if PINS.exists() else {}
    digest = hashlib.sha256(b"".join(np.asarray(Image.open(path)).tobytes() for path in found.values())).hexdigest()
    new = {f"{command}/{name}": means(path) for name, path in found.items()}
    new[f"{command}.sha256"] = np.array(digest)
    if landmarks is not None:
        new[f"{command}.landmarks"] = landmarks
    if os.environ.get("LSSL_WRITE_PINS") == "1":
        kept = {key: value for key, value in pins.items() if not key.startswith((f"{command}/", f"{command}."))}
        np.savez_compressed(PINS, **kept, **new)
        return
    stored = {key.partition("/")[2] for key in pins if key.startswith(f"{command}/")}
    assert stored == set(found)
    for name in found:
        difference = np.abs(new[f"{command}/{name}"] - pins[f"{command}/{name}"])
        assert difference.max() < GREY_LEVELS, f"{command}: {name} differs by {difference.max():.1f} grey levels"
    if landmarks is not None:
        np.testing.assert_allclose(landmarks, pins[f"{command}.landmarks"], atol=PIXELS)
    if os.environ.get("LSSL_EXACT_PINS") == "1":
        assert digest == str(pins[f"{command}.sha256"]), f"{command}: other bytes"


def test_generate_faces(faces) -> None:
    compare("generate-faces", pictures(faces / "images"), np.asarray(read_metadata(faces).landmarks))


@pytest.mark.parametrize("background", ["plain", "original"])
def test_render_frontal(faces, tmp_path, background) -> None:
    run("render-frontal", faces, "-o", tmp_path / "out", "--size", SIDE, "--workers", 1, "--background", background)
    landmarks = np.asarray(read_metadata(tmp_path / "out").landmarks)
    compare(f"render-frontal-{background}", pictures(tmp_path / "out" / "images"), landmarks)


def test_synthesize_a_folder(faces, model, tmp_path) -> None:
    run("prepare", "folder", faces, tmp_path / "small", "--size", 32)
    run("synthesize", model, tmp_path / "small", "--all", "-o", tmp_path / "out", "--device", "cpu")
    compare("synthesize-folder", pictures(tmp_path / "out"))


def test_synthesize_photographs(faces, model, tmp_path) -> None:
    folder = read_metadata(faces)
    photographs = []
    for row in (0, len(folder) - 1):
        path = tmp_path / f"{row}.png"
        Image.open(folder.image_path(row)).save(path)
        write_pts(path.with_suffix(".pts"), np.asarray(folder.landmarks[row]))
        photographs.append(path)
    run("synthesize", model, *photographs, "--to", "happy", "--paste", "-o", tmp_path / "out", "--device", "cpu")
    compare("synthesize-photographs", pictures(tmp_path / "out"))

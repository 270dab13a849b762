import shutil

import numpy as np
import pytest
import torch

from lssl.data import FaceDataset, heatmap_side, to_float, to_uint8
from lssl.data.landmarks import FLIP_68
from lssl.errors import LsslError


@pytest.fixture(scope="module")
def folder(tmp_path_factory, faces):
    return faces.write_folder(tmp_path_factory.mktemp("made") / "data", masks=True, side=True)


def test_batch_holds_what_the_folder_holds(folder) -> None:
    data = FaceDataset(folder, masks=True, side_channels=3)
    batch = data.batch([0, 9])
    assert batch.image.shape == (2, 3, 32, 32)
    assert batch.image.min() >= -1
    assert batch.image.max() <= 1
    assert to_uint8(batch.image)[1, 0, 0, 0] == 40
    assert batch.y.tolist() == [[0, 1], [1, 0]]  # 000_happy, 004_neutral
    assert [data.subjects[k] for k in batch.subject] == ["s0", "s4"]
    assert batch.mask is not None
    assert batch.mask.max() <= 3
    assert batch.side is not None
    assert batch.side.shape == (2, 3, 32, 32)


def test_uint8_survives_the_trip_to_float() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(values)), values)


def test_heatmap_peaks_at_the_landmarks(faces) -> None:
    points = torch.from_numpy(np.round(faces.face_points(40, (32, 28))))[None]
    side = heatmap_side(points, (64, 64))
    assert side.shape == (1, 1, 64, 64)
    assert side.min() >= -1
    at = side[0, 0][points[0, :, 1].long(), points[0, :, 0].long()]
    assert torch.allclose(at, torch.ones(68))
    assert side[0, 0, 0, 0] < -0.999


def test_a_flip_mirrors_everything_together(folder) -> None:
    data = FaceDataset(folder, masks=True)
    plain = data.batch([2, 3])
    flipped = data.batch([2, 3], flip=torch.tensor([True, False]))
    assert torch.equal(flipped.image[0], plain.image[0].flip(-1))
    assert torch.equal(flipped.image[1], plain.image[1])
    assert torch.equal(flipped.mask[0], plain.mask[0].flip(-1))
    assert torch.equal(flipped.landmarks[0, :, 0], 31 - plain.landmarks[0][list(FLIP_68), 0])
    assert torch.allclose(flipped.side[0], plain.side[0].flip(-1), atol=1e-5)
    assert torch.equal(flipped.side[1], plain.side[1])


def test_side_pictures(folder) -> None:
    data = FaceDataset(folder, side="image", side_channels=3)
    batch = data.batch([4])
    assert torch.equal(batch.side, batch.image.flip(2))
    assert FaceDataset(folder, side="none").batch([4]).side is None


def test_pixels_read_beforehand_give_the_same_batch(folder) -> None:
    held = FaceDataset(folder, split="train", in_memory=True, masks=True)
    read = FaceDataset(folder, split="train", in_memory=False, masks=True)
    assert "read from disk" in read.placement
    assert "held as uint8 on cpu" in held.placement
    rows, flip = [3, 0, 5], torch.tensor([True, False, True])
    pixels = [read.pixels(row) for row in rows]
    stacked = {name: torch.stack([one[name] for one in pixels]) for name in pixels[0]}
    for other in (read.batch(rows, flip=flip), read.batch(rows, flip=flip, pixels=stacked)):
        batch = held.batch(rows, flip=flip)
        for name in ("image", "mask", "landmarks", "side", "y"):
            assert torch.equal(getattr(batch, name), getattr(other, name))


def test_what_is_missing_is_said_before_training(tmp_path, faces) -> None:
    folder = faces.write_folder(tmp_path / "data")
    with pytest.raises(LsslError, match="masks has no mask"):
        FaceDataset(folder, masks=True)
    with pytest.raises(LsslError, match="side picture is missing"):
        FaceDataset(folder, side="image")
    (folder / "landmarks.npy").unlink()
    with pytest.raises(LsslError, match=r"no landmarks.npy, which the heatmap"):
        FaceDataset(folder)
    assert FaceDataset(folder, side="none").batch([0]).landmarks is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            lambda points: points * 4,
            r"of 10 of 10 faces are outside their pictures of 32x32: are they in another size's pixels",
        ),
        (lambda points: points / 32, r"within two pixels of pictures of 32x32: are they fractions of the side"),
        (lambda points: points[..., ::-1], r"mirrored in pictures of 32x32: are x and y swapped"),
    ],
)
def test_landmarks_that_cannot_be_the_faces_are_refused(folder, tmp_path, changed, message) -> None:
    shutil.copytree(folder, tmp_path / "data")
    path = tmp_path / "data" / "landmarks.npy"
    points = np.load(path)
    np.save(path, changed(points))
    with pytest.raises(LsslError, match=rf"landmarks\.npy: .*{message}"):
        FaceDataset(tmp_path / "data")
    mixed = points.copy()
    mixed[:2] = changed(points[:2])  # a few odd faces are no reason
    np.save(path, mixed)
    assert len(FaceDataset(tmp_path / "data")) == 10


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_pixels_live_on_the_gpu(folder) -> None:
    data = FaceDataset(folder, device="cuda")
    assert "cuda" in data.placement
    here, there = FaceDataset(folder).batch([1, 2]), data.batch([1, 2])
    assert there.image.is_cuda
    assert torch.equal(here.image, there.image.cpu())
    assert torch.allclose(here.side, there.side.cpu(), atol=1e-5)

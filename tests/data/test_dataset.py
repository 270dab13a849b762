import numpy as np
import pytest
import torch

from lssl.data import FaceDataset, FaceLoader, FolderError, heatmap_side, to_float, to_uint8
from lssl.data.landmarks import FLIP_68


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


@pytest.mark.parametrize("workers", [0, 2])
def test_memory_and_workers_give_the_same_batches(folder, workers) -> None:
    held = FaceLoader(FaceDataset(folder, split="train", in_memory=True, masks=True), 3, seed=5)
    data = FaceDataset(folder, split="train", in_memory=False, masks=True)
    assert "read from disk" in data.placement
    assert "held as uint8 on cpu" in held.dataset.placement
    read = FaceLoader(data, 3, seed=5, workers=workers)
    for _ in range(5):
        a, b = next(held), next(read)
        assert torch.equal(a.row, b.row)
        assert torch.equal(a.image, b.image)
        assert torch.equal(a.mask, b.mask)


def test_an_epoch_sees_every_face_once(folder) -> None:
    loader = FaceLoader(FaceDataset(folder), 5, seed=1)
    rows = torch.cat([next(loader).row for _ in range(4)])
    for epoch in rows.reshape(2, 10):
        assert sorted(epoch.tolist()) == list(range(10))
    assert not torch.equal(rows[:10], rows[10:])
    assert loader.steps_per_epoch == 2


def test_a_resumed_loader_goes_on_as_if_never_stopped(folder) -> None:
    data = FaceDataset(folder)
    straight, stopped = FaceLoader(data, 4, seed=2), FaceLoader(data, 4, seed=2)
    for _ in range(3):
        next(straight)
        next(stopped)
    resumed = FaceLoader(data, 4, seed=99)
    resumed.load_state_dict(stopped.state_dict())
    for _ in range(4):
        a, b = next(straight), next(resumed)
        assert torch.equal(a.image, b.image)
        assert torch.equal(a.landmarks, b.landmarks)
    with pytest.raises(ValueError, match="batch_size 4, but it is 2"):
        FaceLoader(data, 2).load_state_dict(stopped.state_dict())


def test_processes_share_out_the_batch_of_one_process(folder) -> None:
    data = FaceDataset(folder)
    one = FaceLoader(data, 4, seed=3)
    parts = [FaceLoader(data, 4, seed=3, rank=rank, world_size=2) for rank in range(2)]
    for _ in range(4):
        whole = next(one)
        halves = [next(part) for part in parts]
        assert torch.equal(whole.image, torch.cat([half.image for half in halves]))
    with pytest.raises(ValueError, match="does not divide by 3 processes"):
        FaceLoader(data, 4, world_size=3)


def test_what_is_missing_is_said_before_training(tmp_path, faces) -> None:
    folder = faces.write_folder(tmp_path / "data")
    with pytest.raises(FolderError, match="masks has no mask"):
        FaceDataset(folder, masks=True)
    with pytest.raises(FolderError, match="side picture is missing"):
        FaceDataset(folder, side="image")
    (folder / "landmarks.npy").unlink()
    with pytest.raises(FolderError, match=r"no landmarks.npy, which the heatmap"):
        FaceDataset(folder)
    assert FaceDataset(folder, side="none").batch([0]).landmarks is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_pixels_live_on_the_gpu(folder) -> None:
    data = FaceDataset(folder, device="cuda")
    assert "cuda" in data.placement
    here, there = FaceDataset(folder).batch([1, 2]), data.batch([1, 2])
    assert there.image.is_cuda
    assert torch.equal(here.image, there.image.cpu())
    assert torch.allclose(here.side, there.side.cpu(), atol=1e-5)

"""The order in which training sees its faces."""

import pytest
import torch

from lssl.data import FaceDataset
from lssl.training.distributed import Processes
from lssl.training.faces import FaceStream


def images(stream: FaceStream, step: int) -> torch.Tensor:
    return stream.batch(stream.draw(step)).image


def test_an_epoch_sees_every_face_once(faces) -> None:
    stream = FaceStream(FaceDataset(faces), 5, seed=1)
    rows = torch.cat([stream.rows(step)[0] for step in range(8)])
    for epoch in rows.reshape(2, 20):
        assert sorted(epoch.tolist()) == list(range(20))
    assert not torch.equal(rows[:20], rows[20:])


def test_a_step_does_not_depend_on_those_before(faces) -> None:
    one, other = (
        FaceStream(FaceDataset(faces), 4, seed=2, jitter=1.0),
        FaceStream(FaceDataset(faces), 4, seed=2, jitter=1.0),
    )
    for step in range(7):
        images(one, step)
    for step in (7, 3, 12):
        assert torch.equal(images(one, step), images(other, step))


@pytest.mark.parametrize("in_memory", [True, False])
def test_further_faces_follow_in_the_same_batch(faces, in_memory) -> None:
    stream = FaceStream(FaceDataset(faces, in_memory=in_memory), 4, seed=2)
    plan = stream.draw(3)
    further = stream.draw(3, rows=plan["face.rows"].flip(0), name="partner")
    both, one = stream.batch({**plan, **further}, also="partner"), stream.batch(plan)
    assert torch.equal(both.image[:4], one.image)
    assert torch.equal(both.y, torch.cat([one.y, one.y.flip(0)]))
    flip = plan["face.flip"]
    same = (flip == flip.flip(0))[:, None, None, None]  # mirrored alike in both places
    assert torch.equal(both.image[4:] * same, one.image.flip(0) * same)
    assert same.any()


def test_disk_and_memory_give_the_same_faces(faces) -> None:
    held = FaceStream(FaceDataset(faces, in_memory=True), 4, seed=2, jitter=0.5)
    read = FaceStream(FaceDataset(faces, in_memory=False), 4, seed=2, jitter=0.5)
    for step in range(6):
        assert torch.equal(images(held, step), images(read, step))


def test_processes_share_out_the_batch_of_one(faces) -> None:
    data = FaceDataset(faces)
    one = FaceStream(data, 4, seed=3, jitter=1.0)
    parts = [FaceStream(data, 4, seed=3, jitter=1.0, processes=Processes(rank, 2)) for rank in range(2)]
    for step in range(4):
        assert torch.equal(images(one, step), torch.cat([images(part, step) for part in parts]))
    with pytest.raises(ValueError, match="is not divisible by 3 processes"):
        FaceStream(data, 4, seed=0, processes=Processes(0, 3))

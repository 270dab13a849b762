"""Runs that begin with the weights of a trained generator."""

from dataclasses import replace
from itertools import cycle

import pytest
import torch

from lssl import load_generator
from lssl.data import FaceDataset, read_metadata
from lssl.data.schema import AttributeGroup, AttributeSchema
from lssl.errors import LsslError
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.generate import FaceGenerator, GenerateConfig
from lssl.face3d.generated import write_generated
from lssl.models.export import TrainedGenerator, save_generator
from lssl.models.generator import Generator
from lssl.models.moving import MovingGenerator
from lssl.training import start as start_module
from lssl.training.start import alike, at_rest, begin_with, size_to_paint_at

SMALL = {"width": 4, "movement_width": 4}


def expressions(*values: str) -> AttributeSchema:
    return AttributeSchema((AttributeGroup("expression", values),))


@pytest.fixture
def trained(tmp_path):
    """A generator that knows neutral, happy and sad."""
    torch.manual_seed(0)
    generator = TrainedGenerator(
        MovingGenerator(3, 32, **SMALL), expressions("neutral", "happy", "sad"), 32, info={"subjects": ["a", "b"]}
    )
    save_generator(tmp_path / "trained.safetensors", generator)
    return str(tmp_path / "trained.safetensors")


def faces(size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.rand(1, 3, size, size) * 2 - 1, torch.rand(1, 1, size, size) * 2 - 1


def test_a_known_class_begins_with_the_same_faces(trained):
    other = MovingGenerator(2, 32, **SMALL)
    start = begin_with(other, expressions("sad", "happy"), trained)
    assert (start.known, start.new, start.paints) == (["sad", "happy"], {}, True)
    source = load_generator(trained).network
    for k, y in enumerate(([0.0, 0.0, 1.0], [0.0, 1.0, 0.0])):
        torch.testing.assert_close(
            other(*faces(), torch.eye(2)[k : k + 1])[0], source(*faces(), torch.tensor([y]))[0], rtol=1e-4, atol=1e-5
        )


def test_what_a_face_shows_counts_from_where_the_generator_left_off(trained, tmp_path):
    told = MovingGenerator(2, 32, **SMALL, takes_source=True)
    begin_with(told, expressions("sad", "happy"), trained)  # which was not told
    y, y_source = torch.eye(2)[:1], torch.eye(2)[1:]
    assert torch.equal(told(*faces(), y, y_source)[0], told(*faces(), y)[0])
    with torch.no_grad():
        for module in told.modules():
            if hasattr(module, "modulation"):
                module.modulation.weight[:, 2:] = 0.3 * torch.randn_like(module.modulation.weight[:, 2:])
    save_generator(tmp_path / "told.safetensors", TrainedGenerator(told, expressions("sad", "happy"), 32))

    again = MovingGenerator(2, 32, **SMALL, takes_source=True)
    begin_with(again, expressions("happy", "sad"), str(tmp_path / "told.safetensors"))
    expected = told(*faces(), y, y_source)[0]
    torch.testing.assert_close(again(*faces(), y_source, y)[0], expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(again(*faces(), y_source, y_source)[0], expected, atol=1e-3)


def test_a_new_class_begins_between_the_known_ones(trained):
    other = MovingGenerator(3, 32, **SMALL)
    start = begin_with(other, expressions("sad", "sleepy", "happy"), trained)
    assert start.new == {"sleepy": ""}
    assert "new: sleepy" in start.lines(())[0]
    weight = other.mover.blocks[0].modulation.weight
    torch.testing.assert_close(weight[:, 1], (weight[:, 0] + weight[:, 2]) / 2)


def test_classes_of_other_names_begin_as_what_moves_like_them(tmp_path):
    wanted = GenerateConfig(6, ("neutral", "happy", "surprised"), size=64, seed=3)
    write_generated(tmp_path, FaceGenerator(load_embedded_model(), wanted), model="embedded", progress=False)
    folder = read_metadata(tmp_path, attributes=("expression",))
    names = {"neutral": "resting", "happy": "grin", "surprised": "gape"}
    renamed = [names[value] for value in folder.columns["expression"]]
    faces = FaceDataset(replace(folder, columns={**folder.columns, "class": renamed}, attributes=("class",)))
    built_in = load_generator("generated")
    found = alike(built_in.network, built_in.schema, faces)
    assert found == {"resting": "neutral", "grin": "happy", "gape": "surprised"}
    assert at_rest(faces) == {"class": "resting"}
    for others in ({"side": "none"}, {"side_channels": 3}):  # what the networks of another method take
        assert at_rest(FaceDataset(faces.folder, **others)) == {"class": "resting"}
    assert at_rest(FaceDataset(folder)) == {}  # one is called neutral
    assert at_rest(FaceDataset(replace(faces.folder, landmarks=None), side="none")) == {}

    settings = built_in.network.settings()
    other = MovingGenerator(3, 64, settings["side_channels"], settings["width"], settings["movement_width"])
    start = begin_with(other, faces.schema, "generated", faces)
    assert start.new == found
    assert "grin (begins as happy)" in start.lines(())[0]
    ours, theirs = (network.mover.blocks[0].modulation.weight for network in (other, built_in.network))
    for own, known in found.items():
        assert torch.equal(ours[:, faces.schema.names.index(own)], theirs[:, built_in.schema.names.index(known)])


@pytest.mark.parametrize(("happy", "begins_as"), [(0.95, "neutral"), (0.8, "happy")])
def test_a_class_that_could_be_rest_begins_as_neutral(tmp_path, monkeypatch, trained, happy, begins_as):
    wanted = GenerateConfig(3, ("neutral", "happy"), size=32, seed=3)
    write_generated(tmp_path / "faces", FaceGenerator(load_embedded_model(), wanted), model="embedded", progress=False)
    faces = FaceDataset(read_metadata(tmp_path / "faces", attributes=("expression",)))
    missed = cycle([1.0, happy, 3.0])  # by the faces of neutral, happy and sad
    monkeypatch.setattr(start_module, "movement_error", lambda *_: torch.tensor(next(missed)))
    generator = load_generator(trained)
    assert alike(generator.network, generator.schema, faces) == {"neutral": begins_as, "happy": begins_as}


def test_of_pictures_of_another_size_only_the_movement_is_used(trained):
    other = MovingGenerator(2, 256, **SMALL)
    before = {name: values.clone() for name, values in other.painter.state_dict().items()}
    start = begin_with(other, expressions("sad", "happy"), trained)
    assert not start.paints
    assert "its painter is for pictures of another size" in start.lines(())[0]
    assert "--size 32 begin with its painter" in start.lines(())[1]
    assert all(torch.equal(values, before[name]) for name, values in other.painter.state_dict().items())
    source = load_generator(trained).network
    assert torch.equal(other.mover.head.weight, source.mover.head.weight)


def test_larger_pictures_are_painted_at_the_size_that_the_painter_knows(trained):
    assert [size_to_paint_at(trained, size) for size in (32, 64, 128, 256, 512)] == [32, 64, 128, 32, 32]
    other = MovingGenerator(2, 256, **SMALL, paint_size=32)
    start = begin_with(other, expressions("sad", "happy"), trained)
    assert (start.paints, start.enlarged) == (True, True)
    assert "goes on painting at its 32 pixels" in start.lines(())[1]
    source = load_generator(trained).network
    assert torch.equal(other.painter.head.weight, source.painter.head.weight)
    assert other(*faces(256), torch.eye(2)[:1])[0].shape == (1, 3, 256, 256)


def test_people_who_may_have_been_seen_are_named(trained):
    start = begin_with(MovingGenerator(2, 32, **SMALL), expressions("sad", "happy"), trained)
    assert len(start.lines(["c"])) == 1
    assert "1 of those tested here (b, ...)" in start.lines(["b", "c"])[1]


def test_other_networks_are_refused(trained, tmp_path):
    with pytest.raises(LsslError, match=r"another width than this run: add --set network\.width=4"):
        begin_with(MovingGenerator(2, 32, width=8, movement_width=4), expressions("sad", "happy"), trained)
    paper = Generator(2, width=4, num_downsamplings=2, residual_blocks=1)
    path = tmp_path / "paper.safetensors"
    save_generator(path, TrainedGenerator(paper, expressions("sad", "happy"), 32))
    with pytest.raises(LsslError, match="is a Generator; a run of this method begins with a MovingGenerator"):
        begin_with(MovingGenerator(2, 32, **SMALL), expressions("sad", "happy"), str(path))

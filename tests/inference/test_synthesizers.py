"""Synthesizers without training: morphs of two people, the 3D edit with the data's movements, mixtures, a teacher."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lssl.data import AttributeGroup, FaceFolderWriter, FaceRow, read_metadata
from lssl.data.images import read_image
from lssl.errors import LsslError
from lssl.face3d.builtin import load_face_model
from lssl.face3d.generate import FaceGenerator, GenerateConfig
from lssl.face3d.generated import write_generated
from lssl.inference.morph import bend_images, morph_faces
from lssl.inference.synthesizers import check_names, open_synthesizer
from lssl.inference.synthetic_folder import AugmentOptions, augment_folder
from lssl.models.classifier import TrainedClassifier


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Three people of the built-in model, neutral and happy, 48 pixels."""
    root = tmp_path_factory.mktemp("synthesizers") / "people"
    config = GenerateConfig(3, ("neutral", "happy"), size=48, test_fraction=0)
    write_generated(root, FaceGenerator(load_face_model("ict"), config), model="ict", progress=False)
    return read_metadata(root, attributes=["expression"])


def made(name, people, out, per_class=6, **options):
    teacher = options.pop("teacher", None)
    chosen = AugmentOptions(per_class, "expression", (1.0, 1.0), split="all", **options)
    augment_folder(open_synthesizer(name), people, out, chosen, teacher=teacher)
    return read_metadata(out, attributes=["expression"])


def test_a_bent_picture_has_its_points_where_they_were_asked_for():
    chance = torch.Generator().manual_seed(0)
    points = torch.rand(3, 20, 2, generator=chance) * 1.2 - 0.6
    goals = points + 0.04 * (torch.rand(3, 20, 2, generator=chance) - 0.5)
    y, x = torch.meshgrid(*[(torch.arange(64) + 0.5) / 32 - 1] * 2, indexing="ij")
    places = torch.stack([x, y])[None].repeat(3, 1, 1, 1)  # each pixel shows where it is
    bent = bend_images(places, points, goals)
    found = torch.nn.functional.grid_sample(bent, goals[:, None], align_corners=False)[:, :, 0].transpose(1, 2)
    assert (found - points).abs().max() < 0.02
    assert (bent - places)[:, :, 0].abs().max() < 0.04  # the border stays, to a pixel
    assert torch.allclose(bend_images(places, points, points), places, atol=2e-3)


def test_a_mixture_lies_between_its_two_faces():
    first, second = torch.full((2, 3, 32, 32), -0.5), torch.full((2, 3, 32, 32), 0.5)
    points = torch.rand(2, 10, 2, generator=torch.Generator().manual_seed(1)) - 0.5
    share = torch.tensor([0.25, 1.0])
    mixed, places = morph_faces(first, second, points, points + 0.1, share, share)
    assert mixed.mean((1, 2, 3)).tolist() == pytest.approx([-0.25, 0.5], abs=1e-3)
    assert torch.allclose(places[0], points[0] + 0.025)
    assert torch.allclose(places[1], points[1] + 0.1)


def test_a_morph_shows_what_both_its_people_show_and_names_them(people, tmp_path):
    faces = made("morph", people, tmp_path / "out")
    assert len(faces) == 12
    assert faces.landmarks is not None
    for k, value in enumerate(faces.columns["expression"]):
        assert faces.columns["other_subject"][k] != faces.subjects[k]
        for column in ("made_from", "mixed_with"):
            row = people.file_names.index(faces.columns[column][k])
            assert people.columns["expression"][row] == value
    alone = people.select([row for row, who in enumerate(people.subjects) if who == people.subjects[0]])
    with pytest.raises(LsslError, match="shown by one person only"):
        made("morph", alone, tmp_path / "alone")


def test_a_blend_needs_no_landmarks(people, tmp_path):
    bare = replace(people, landmarks=None)
    faces = made("blend", bare, tmp_path / "out", per_class=3)
    assert faces.landmarks is None
    for k in range(len(faces)):
        pictures = []
        for column in ("made_from", "mixed_with"):
            pictures.append(read_image(people.image_path(people.file_names.index(faces.columns[column][k]))))
        one, other = (picture.astype(float) for picture in pictures)
        share = float(faces.columns["colour_share"][k])
        candidates = [(1 - share) * one + share * there for there in (other, other[:, ::-1])]
        assert min(np.abs(read_image(faces.image_path(k)) - blend).max() for blend in candidates) <= 1
    with pytest.raises(LsslError, match="no synthesizer 'magic'; known: generator, 3d, morph, blend"):
        check_names(["morph", "blend+magic"])


def test_the_3d_edit_moves_faces_as_the_folders_people_do_whatever_the_classes_are_called(people, tmp_path):
    renamed = ["smile" if value == "happy" else "rest" for value in people.columns["expression"]]
    other = replace(people, columns={**people.columns, "expression": renamed})
    faces = made("3d", other, tmp_path / "out", per_class=3)
    assert set(faces.columns["expression"]) == {"smile", "rest"}
    assert faces.landmarks is not None

    def width(points):
        return float(np.linalg.norm(points[54] - points[48]) / np.linalg.norm(points[45] - points[36]))

    assert people.landmarks is not None
    for k, value in enumerate(faces.columns["expression"]):
        before = people.landmarks[people.file_names.index(faces.columns["made_from"][k])]
        assert (width(faces.landmarks[k]) > width(before)) == (value == "smile")


def test_the_3d_edit_starts_from_neutral_faces_and_goes_back_as_the_person_does(people):
    maker = open_synthesizer("3d")
    values = people.columns["expression"]
    orders = maker.plan(people, maker.group(people, "expression"), 6, (0.8, 1.2), 0)
    for order in orders:
        moved_as, own = order.others
        assert (values[moved_as], values[own]) == (order.value, values[order.row])
        if order.value == "neutral":
            assert people.subjects[moved_as] == people.subjects[order.row]
            assert (own, order.intensity) == (order.row, 1.0)
    more = replace(people, columns={"expression": [*values, "sad"]}, subjects=[*people.subjects, people.subjects[0]])
    more = replace(more, file_names=[*people.file_names, "images/sad.png"], splits=[*people.splits, "train"])
    for order in maker.plan(more, maker.group(more, "expression"), 6, (0.8, 1.2), 0):
        assert "neutral" in (order.value, more.columns["expression"][order.row])


def test_several_by_turns_share_every_class_and_no_landmarks_are_named(people, tmp_path):
    both = open_synthesizer("morph+3d")
    group = both.group(people, "expression")
    orders = both.plan(people, group, 5, (1.0, 1.0), 0)
    assert len({order.key for order in orders}) == 10
    for value in group.values:
        assert [order.part for order in orders if order.value == value] == [0, 1, 0, 1, 0]
    for name in ("morph", "3d", "morph+3d"):
        with pytest.raises(LsslError, match=r"no landmarks\.npy"):
            open_synthesizer(name).group(replace(people, landmarks=None), "expression")
    with pytest.raises(LsslError, match="no synthesizer 'magic'"):
        open_synthesizer("morph+magic")


class Bright(nn.Module):
    """Stands for a classifier that takes every face for the first class."""

    def __init__(self):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, image):
        return torch.tensor([[4.0, 0.0]]).expand(len(image), -1)


def test_a_teacher_rejects_what_it_takes_for_another_class(people, tmp_path):
    group = open_synthesizer("morph").group(people, "expression")
    teacher = TrainedClassifier(Bright(), group, "small", 48).eval()
    faces = made("morph", people, tmp_path / "out", teacher=teacher)
    assert set(faces.columns["expression"]) == {group.values[0]}
    rejected = (tmp_path / "out" / "rejected.csv").read_text()
    assert f"takes it for {group.values[0]}" in rejected
    strange = TrainedClassifier(Bright(), AttributeGroup("expression", ("a", "b")), "small", 48)
    with pytest.raises(LsslError, match="the teacher has the classes a, b"):
        made("morph", people, tmp_path / "strange", teacher=strange)


def test_untrained_faces_are_the_same_bytes_after_an_interruption(people, tmp_path):
    one = made("morph+3d", people, tmp_path / "one", per_class=4)
    again = made("morph+3d", people, tmp_path / "two", per_class=4)
    assert one.file_names == again.file_names
    for k in range(len(one)):
        assert one.image_path(k).read_bytes() == again.image_path(k).read_bytes()


def test_a_folder_is_written_with_the_right_columns(tmp_path):
    """Classes that have the same name in another case get different files."""
    writer = FaceFolderWriter(tmp_path / "in", attributes=["kind"], settings={})
    chance = np.random.default_rng(0)
    for who in "ab":
        for kind in ("x", "X"):
            points = chance.uniform(10, 38, (68, 2)).astype(np.float32)
            image = chance.integers(0, 255, (48, 48, 3)).astype(np.uint8)
            writer.add(FaceRow(f"{who}{ord(kind)}", image, who, "train", {"kind": kind}, landmarks=points))
    writer.finish()
    folder = read_metadata(tmp_path / "in", attributes=["kind"])
    augment_folder(open_synthesizer("morph"), folder, tmp_path / "out", AugmentOptions(2, "kind"))
    assert sorted(read_metadata(tmp_path / "out").columns["kind"]) == ["X", "X", "x", "x"]

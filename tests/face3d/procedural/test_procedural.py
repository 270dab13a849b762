"""The procedural head: its mesh, its people's expressions, and the model built from them."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lssl.data.landmarks import FLIP_68
from lssl.face3d import embedded
from lssl.face3d.model.bilinear import EXPRESSIONS, BilinearFaceModel
from lssl.face3d.model.topology import Part
from lssl.face3d.procedural.albedo import sample_albedos
from lssl.face3d.procedural.expression import ACTIONS, EXPRESSION_ACTIONS, pose
from lssl.face3d.procedural.identity import DIMENSIONS, eye_centre, neutral_vertices, sample_dimensions
from lssl.face3d.procedural.mesh import build_template
from lssl.face3d.procedural.topology import build_topology


@pytest.fixture(scope="module")
def people() -> list[NDArray[np.float64]]:
    return [neutral_vertices(d) for d in sample_dimensions(6, np.random.default_rng(3))]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> BilinearFaceModel:
    patch = pytest.MonkeyPatch()
    patch.setenv("LSSL_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.setattr(embedded, "PEOPLE", 20)
    patch.setattr(embedded, "COLOURINGS", 24)
    try:
        return embedded.load_embedded_model()
    finally:
        patch.undo()


def test_size() -> None:
    template = build_template()
    assert 4500 < len(template.vertices) < 6000
    assert len(DIMENSIONS) >= 30
    assert set(EXPRESSION_ACTIONS) == set(EXPRESSIONS)


def test_mirror_is_an_involution_and_the_mean_head_is_symmetric() -> None:
    template = build_template()
    mirror = template.mirror
    assert np.array_equal(mirror[mirror], np.arange(len(mirror)))
    assert np.allclose(template.vertices[mirror], template.vertices * [-1, 1, 1], atol=1e-12)
    faces = {tuple(sorted(f)) for f in template.faces.tolist()}
    assert {tuple(sorted(f)) for f in mirror[template.faces].tolist()} == faces


def test_faces_are_distinct_triangles_and_edges_have_at_most_two_sides() -> None:
    template = build_template()
    faces = template.faces
    assert (np.diff(np.sort(faces, 1), axis=1) > 0).all(), "a triangle with the same corner twice"
    assert len(np.unique(np.sort(faces, 1), axis=0)) == len(faces), "the same triangle twice"
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(np.unique(directed, axis=0)) == len(directed), "two triangles run along an edge the same way"
    assert len(np.unique(faces)) == len(template.vertices), "a vertex of no triangle"
    a, b, c = (template.vertices[faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    assert area.min() > 1e-7


def test_front_of_the_face_looks_at_the_viewer() -> None:
    template = build_template()
    topology = build_topology()
    a, b, c = (template.vertices[template.faces[:, k]] for k in range(3))
    normal, centre = np.cross(b - a, c - a), (a + b + c) / 3
    front = (
        (topology.face_parts == Part.SKIN) & (np.abs(centre[:, 0]) < 1.2) & (centre[:, 1] > 2.5) & (centre[:, 2] > 9)
    )
    iris = topology.face_parts == Part.IRIS
    teeth = (topology.face_parts == Part.TEETH) & (np.abs(centre[:, 0]) < 1) & (centre[:, 2] > 10.6)
    for chosen in (front, iris, teeth):
        assert chosen.any()
        assert (normal[chosen, 2] > 0).mean() > 0.95


def test_landmarks_are_in_ibug_order() -> None:
    vertices, landmarks = build_template().vertices, build_topology().landmarks
    points = vertices[landmarks]
    assert len(set(landmarks.tolist())) == 68
    assert np.allclose(points[list(FLIP_68)], points * [-1, 1, 1], atol=1e-9)
    x, y, z = points.T
    assert (np.diff(x[:17]) > 0).all(), "the jaw goes from the picture's left to its right"
    assert y[8] == y[:17].min()
    assert (np.diff(x[17:27]) > 0).all()
    assert (np.diff(y[27:31]) < 0).all()
    assert z[30] == z.max(), "the tip of the nose is nearest to the viewer"
    assert (np.diff(x[31:36]) > 0).all()
    for first in (36, 42):
        outline = points[first : first + 6]
        assert outline[3, 0] > outline[0, 0]
        assert (outline[1:3, 1] > outline[4:6, 1].max()).all()
    assert (np.diff(x[48:55]) > 0).all()
    assert (np.diff(x[54:60]) < 0).all()
    assert (np.diff(x[60:65]) > 0).all()
    assert y[51] > y[62] > y[66] > y[57] or np.isclose(y[62], y[66], atol=0.1)


def test_jaw_contours_run_forward_over_the_cheek() -> None:
    template, topology = build_template(), build_topology()
    for k in (0, 2, 14, 16):
        z = template.vertices[topology.jaw_contours[k], 2]
        assert z[-1] > z[0] + 1.0
    assert np.array_equal(topology.mirror[topology.jaw_contours], topology.jaw_contours[::-1])


def test_eyeballs_are_spheres_of_their_own(people: list[NDArray[np.float64]]) -> None:
    template = build_template()
    assert build_topology().has_eyeballs
    for vertices in people:
        ball = template.groups["eyeball"].ravel()
        radius = np.linalg.norm(vertices[ball] - eye_centre(template, vertices, False), axis=1)
        assert radius.std() < 0.02 * radius.mean()
        assert 1.0 < radius.mean() < 1.5


def test_lids_close_over_the_eyes(people: list[NDArray[np.float64]]) -> None:
    template = build_template()
    lids, lower = template.groups["lids"][0], (-np.arange(32)) % 32
    for vertices in people:
        open_gap = vertices[lids[8], 1] - vertices[lids[24], 1]
        closed = pose(vertices, {"lid_close": 1.0})
        for numbers in (lids, template.mirror[lids]):
            gap = closed[numbers[1:16], 1] - closed[numbers[lower[1:16]], 1]
            assert open_gap > 0.5
            assert np.abs(gap).max() < 0.02
        # the closed lid lies in front of the eyeball
        centre = eye_centre(template, vertices, False)
        radius = np.linalg.norm(vertices[template.groups["eyeball_pole"][0]] - centre)
        assert (np.linalg.norm(closed[lids[4:13]] - centre, axis=1) > radius).all()


def test_mouth_opens_on_teeth_and_closes_at_rest(people: list[NDArray[np.float64]]) -> None:
    template, landmarks = build_template(), build_topology().landmarks
    teeth = template.groups["teeth_lower"]
    for vertices in people:
        opened = pose(vertices, {"jaw_drop": 1.0, "lips_part": 0.5})
        assert np.abs(vertices[landmarks[62], 1] - vertices[landmarks[66], 1]) < 0.15
        assert opened[landmarks[62], 1] - opened[landmarks[66], 1] > 1.5
        assert opened[landmarks[8], 1] < vertices[landmarks[8], 1] - 1.0
        assert (opened[teeth, 1] < vertices[teeth, 1]).all(), "the lower teeth go with the jaw"
        upper = template.groups["teeth_upper"]
        assert np.array_equal(opened[upper], vertices[upper])


def test_expressions_do_what_their_names_say(people: list[NDArray[np.float64]]) -> None:
    marks = build_topology().landmarks
    for neutral in people:
        face = {name: pose(neutral, EXPRESSION_ACTIONS[name])[marks] for name in EXPRESSIONS}
        rest = face["neutral"]
        assert np.array_equal(rest, neutral[marks])
        eye = {name: f[[37, 38], 1].mean() - f[[40, 41], 1].mean() for name, f in face.items()}
        assert (face["happy"][[48, 54], 1] > rest[[48, 54], 1] + 0.3).all()
        assert (face["sad"][[48, 54], 1] < rest[[48, 54], 1] - 0.1).all()
        assert (face["sad"][[21, 22], 1] > rest[[21, 22], 1] + 0.2).all()
        assert (face["angry"][[21, 22], 1] < rest[[21, 22], 1] - 0.2).all()
        assert face["surprised"][62, 1] - face["surprised"][66, 1] > 1.2
        assert eye["surprised"] > 1.2 * eye["neutral"]
        assert eye["fearful"] > 1.2 * eye["neutral"]
        assert eye["disgusted"] < 0.85 * eye["neutral"]
        assert face["disgusted"][51, 1] > rest[51, 1] + 0.2
        lift = face["contemptuous"][[48, 54], 1] - rest[[48, 54], 1]
        assert lift[1] > lift[0] + 0.2, "contempt is one-sided"


def test_expressions_differ_between_people_beyond_addition(people: list[NDArray[np.float64]]) -> None:
    for name in EXPRESSIONS[1:]:
        moves = np.stack([pose(p, EXPRESSION_ACTIONS[name]) - p for p in people])
        mean = moves.mean(0)
        share = np.linalg.norm(moves - mean) / np.linalg.norm(np.broadcast_to(mean, moves.shape))
        assert 0.02 < share < 0.6, name


def test_unknown_action_is_refused() -> None:
    assert "jaw_drop" in ACTIONS
    with pytest.raises(KeyError):
        pose(build_template().vertices, {"wink_wildly": 1.0})


def test_people_differ_and_keep_human_proportions() -> None:
    marks = build_topology().landmarks
    faces = np.stack([neutral_vertices(d)[marks] for d in sample_dimensions(60, np.random.default_rng(5))])
    between_eyes = np.linalg.norm(faces[:, 45] - faces[:, 36], axis=1)
    length = faces[:, 27, 1] - faces[:, 8, 1]
    jaw = np.linalg.norm(faces[:, 12] - faces[:, 4], axis=1)
    for measure, low, high in ((between_eyes, 7.0, 11.0), (length, 8.5, 15.0), (jaw, 8.0, 15.0)):
        assert low < measure.min() < measure.max() < high
        assert measure.std() > 0.02 * measure.mean()


def test_colours_are_colours_and_differ() -> None:
    albedos = sample_albedos(8, np.random.default_rng(0))
    parts = build_topology().vertex_parts
    assert albedos.min() >= 0
    assert albedos.max() <= 1
    for part in (Part.SKIN, Part.HAIR, Part.IRIS):
        assert albedos[:, parts == part].mean(1).std(0).max() > 0.02
    lips, skin = albedos[:, parts == Part.LIPS].mean((0, 1)), albedos[:, parts == Part.SKIN].mean((0, 1))
    assert lips[0] / lips[1] > skin[0] / skin[1], "lips are redder than skin"


def test_embedded_model_has_what_others_rely_on(model: BilinearFaceModel) -> None:
    assert tuple(model.expressions) == EXPRESSIONS
    assert model.topology.num_vertices == len(build_template().vertices)
    vertices = model.vertices(
        model.sample_identity(3, torch.Generator().manual_seed(0)), model.expression("happy")[None]
    )
    assert torch.isfinite(vertices).all()
    mean = model.mean_face()
    mirrored = mean[torch.from_numpy(model.topology.mirror).long()] * torch.tensor([-1.0, 1.0, 1.0])
    assert (mirrored - mean).abs().max() < 0.25
    albedo = model.albedo(model.sample_albedo(3, torch.Generator().manual_seed(0)))
    assert (albedo[0] - albedo[1]).abs().mean() > 0.01


def test_building_twice_gives_the_same_bits() -> None:
    first, second = (embedded.procedural_scans(2, seed=9) for _ in range(2))
    assert np.array_equal(first, second)
    build_template.cache_clear()
    again = build_template()
    build_template.cache_clear()
    assert np.array_equal(again.vertices, build_template().vertices)
    assert np.array_equal(again.faces, build_template().faces)


def _cache(monkeypatch: pytest.MonkeyPatch, folder: str) -> list[int]:
    """Points the cache at a folder and counts the builds of a small model."""
    builds: list[int] = []
    build = embedded.build_embedded_model

    def counted() -> BilinearFaceModel:
        builds.append(1)
        return build()

    monkeypatch.setenv("LSSL_CACHE", folder)
    monkeypatch.setattr(embedded, "PEOPLE", 4)
    monkeypatch.setattr(embedded, "COLOURINGS", 4)
    monkeypatch.setattr(embedded, "build_embedded_model", counted)
    return builds


def test_cache_is_read_and_rebuilt_when_damaged_or_old(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    builds = _cache(monkeypatch, str(folder))
    first = embedded.load_embedded_model()
    second = embedded.load_embedded_model()
    assert len(builds) == 1
    assert torch.equal(first.basis, second.basis)
    assert torch.equal(first.albedo_modes, second.albedo_modes)

    path = embedded.cache_path()
    path.write_bytes(path.read_bytes()[:1000])
    third = embedded.load_embedded_model()
    assert len(builds) == 2
    assert torch.equal(first.core, third.core)
    assert torch.equal(BilinearFaceModel.load(path).core, first.core), "the damaged file was replaced"

    monkeypatch.setattr(embedded, "VERSION", embedded.VERSION + 1)
    assert embedded.cache_path() != path
    embedded.load_embedded_model()
    assert len(builds) == 3
    assert not list(folder.glob(".*")), "no temporary file stays"


def test_a_cache_that_cannot_be_written_is_done_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    blocked = tmp_path_factory.mktemp("cache") / "file"
    blocked.write_text("in the way")
    builds = _cache(monkeypatch, str(blocked))
    assert embedded.load_embedded_model().num_expression > 1
    assert len(builds) == 1

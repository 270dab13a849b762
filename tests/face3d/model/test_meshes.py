"""Meshes keep the order of their file, whatever else the exporter wrote."""

import numpy as np
import pytest

from lssl.errors import LsslError
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.model.marks import pose_doubt, size_doubt
from lssl.face3d.model.meshes import read_mesh, read_scans, scan_paths

RNG = np.random.default_rng(0)
VERTICES = RNG.normal(size=(40, 3)).round(4)
VERTICES[7] = VERTICES[3]  # two vertices at one place must stay two
FACES = np.array([[i, (i + 1) % 40, (i + 5) % 40] for i in range(0, 38)])


@pytest.mark.parametrize("texture", [False, True])
def test_an_obj_keeps_its_vertices_in_order(tmp_path, texture, scan_files):
    scan_files.write_obj(tmp_path / "a_neutral.obj", VERTICES, FACES, texture)
    mesh = read_mesh(tmp_path / "a_neutral.obj")
    assert np.allclose(mesh.vertices, VERTICES, atol=1e-6)
    assert np.array_equal(mesh.faces, FACES)


def test_a_ply_keeps_its_vertices_and_colours(tmp_path):
    import trimesh

    colours = RNG.integers(0, 256, (40, 3), dtype=np.uint8)
    scan = trimesh.Trimesh(VERTICES, FACES, vertex_colors=colours, process=False)
    scan.export(tmp_path / "a_neutral.ply")
    mesh = read_mesh(tmp_path / "a_neutral.ply")
    assert np.allclose(mesh.vertices, VERTICES, atol=1e-5)
    assert np.array_equal(mesh.faces, FACES)
    assert np.allclose(mesh.colours, colours / 255)


def test_quads_become_triangles_of_the_same_vertices(tmp_path):
    (tmp_path / "q_neutral.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 3 4\n")
    mesh = read_mesh(tmp_path / "q_neutral.obj")
    assert len(mesh.vertices) == 4
    assert len(mesh.faces) == 2
    assert sorted(set(mesh.faces.ravel())) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.obj", "", "no vertices"),
        ("a.obj", "v 1 2", "line 1.*truncated"),
        ("a.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "a.obj"),
        ("a.ply", "ply\nformat binary_little_endian 1.0\nelement vertex 5\n", "not a readable PLY"),
        ("a.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\n", "3 vertices but no faces: a cloud of points"),
        ("a.png", "", "not a mesh that is read; export it as .obj or .ply"),
        ("a.stl", "solid", "is not read; export it as .obj or .ply"),
    ],
)
def test_damaged_meshes_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(LsslError, match=message):
        read_mesh(tmp_path / name)


def test_names_say_identity_and_expression(tmp_path, scan_files):
    for name in ("anna_b_neutral", "anna_b_Happy", "ben_neutral"):
        scan_files.write_obj(tmp_path / f"{name}.obj", VERTICES, FACES)
    scans = scan_paths([tmp_path])
    assert set(scans) == {("anna_b", "neutral"), ("anna_b", "happy"), ("ben", "neutral")}
    scan_files.write_obj(tmp_path / "nounderscore.obj", VERTICES, FACES)
    with pytest.raises(LsslError, match="<identity>_<expression>"):
        scan_paths([tmp_path])
    with pytest.raises(LsslError, match="no such file"):
        scan_paths([tmp_path / "nowhere"])


def test_scans_are_gathered_with_their_gaps(tmp_path, scan_files):
    for shift, name in enumerate(("a_neutral", "a_happy", "b_neutral")):
        scan_files.write_obj(tmp_path / f"{name}.obj", VERTICES + shift, FACES)
    scans = read_scans([tmp_path])
    assert scans.identities == ["a", "b"]
    assert scans.expressions == ["neutral", "happy"]
    assert scans.present.tolist() == [[True, True], [True, False]]
    assert np.allclose(scans.vertices[0, 1], VERTICES + 1, atol=1e-5)


def test_scans_of_two_templates_are_refused(tmp_path, scan_files):
    scan_files.write_obj(tmp_path / "a_neutral.obj", VERTICES, FACES)
    scan_files.write_obj(tmp_path / "b_neutral.obj", VERTICES, FACES[::-1])
    with pytest.raises(LsslError, match=r"b_neutral\.obj: not the triangles"):
        read_scans([tmp_path])
    scan_files.write_obj(tmp_path / "b_neutral.obj", np.concatenate([VERTICES, VERTICES]), FACES)
    with pytest.raises(LsslError, match="80 vertices"):
        read_scans([tmp_path])
    (tmp_path / "b_neutral.obj").unlink()
    (tmp_path / "a_neutral.obj").rename(tmp_path / "a_happy.obj")
    with pytest.raises(LsslError, match="neutral"):
        read_scans([tmp_path])


def test_a_scan_in_another_unit_is_named(tmp_path, scan_files):
    for name, scale in (("a_neutral", 1), ("b_neutral", 1.1), ("b_happy", 10), ("c_neutral", 0.9)):
        scan_files.write_obj(tmp_path / f"{name}.obj", VERTICES * scale, FACES)
    with pytest.raises(
        LsslError, match=r"b_happy\.obj: .* units from end to end, where most scans have .* in one unit"
    ):
        read_scans([tmp_path])


def test_a_face_of_no_human_size_is_doubted():
    neutral = np.zeros((68, 3))
    neutral[45, 0] = 90
    assert size_doubt(neutral, np.arange(68), "cm").endswith("(9 in people); --unit mm would fit")
    assert not size_doubt(neutral / 10, np.arange(68), "mm")


def test_a_face_that_stands_otherwise_than_the_model_is_doubted():
    model = load_embedded_model()
    face, marks = model.mean_face().numpy(), model.topology.landmarks
    assert pose_doubt(face, marks) == ""
    assert pose_doubt(face * [1, -1, -1], marks).startswith("the chin lies above the eyes")
    assert pose_doubt(face * [-1, 1, -1], marks).startswith("the nose points backwards")
    assert pose_doubt(face * [-1, 1, 1], marks).startswith("the right eye lies where the left should")

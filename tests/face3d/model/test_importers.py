"""Importers: small files in each format, and the real ICT-FaceKit where it is available."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from lssl.errors import LsslError
from lssl.face3d import EXPRESSIONS, Camera, Part
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.model.importers.facescape import import_facescape
from lssl.face3d.model.importers.facewarehouse import import_facewarehouse, read_shape_bs
from lssl.face3d.model.importers.ict import import_ict
from lssl.face3d.model.importers.ict_parts import LANDMARKS

ICT = Path(__file__).parents[4] / "shared" / "data" / "ict-facekit.tar.xz"
needs_ict = pytest.mark.skipif(not ICT.is_file(), reason=f"the ICT-FaceKit sample {ICT.name} is not at hand")


@pytest.fixture(scope="module")
def embedded():
    return load_embedded_model()


@pytest.fixture(scope="module")
def ict_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ict")
    with tarfile.open(ICT) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.rglob("FaceXModel"))


@pytest.fixture(scope="module")
def ict(ict_folder):
    return import_ict(ict_folder)


def movement(model, name):
    """(68, 3) movement of the landmarks from neutral, in distances between the outer eye corners."""
    index = model.topology.landmarks
    calm = model.mean_face()[index]
    return ((model.mean_face(name)[index] - calm) / (calm[45] - calm[36]).norm()).numpy()


def read_obj(path):
    return np.array([line.split()[1:4] for line in path.read_text().splitlines() if line.startswith("v ")], float)


@needs_ict
def test_ict_shapes_add_up_as_its_documentation_says(ict, ict_folder):
    generic, person, jaw = (
        read_obj(ict_folder / f"{name}.obj") for name in ("generic_neutral_mesh", "identity003", "jawOpen")
    )
    names = sorted(p.stem for p in ict_folder.glob("*.obj"))
    identities = [n for n in names if n.startswith("identity")]
    shapes = [n for n in names if not n.startswith(("identity", "generic"))]
    identity, expression = ict.identity_mean.clone(), ict.expression_mean.clone()
    identity[1 + identities.index("identity003")] = 0.7
    expression[1 + shapes.index("jawOpen")] = 0.5
    expected = (generic + 0.7 * (person - generic) + 0.5 * (jaw - generic))[list(LANDMARKS)]
    made = ict.vertices(identity[None], expression[None])[0, ict.topology.landmarks].numpy()
    # The model has its origin in the head; nothing else moved.
    assert np.abs((made - made.mean(0)) - (expected - expected.mean(0))).max() < 1e-3


@needs_ict
def test_ict_archive_and_folder_are_the_same_model(ict):
    packed = import_ict(ICT)
    assert torch.equal(packed.basis, ict.basis)
    assert torch.equal(packed.mean_face("happy"), ict.mean_face("happy"))


@needs_ict
def test_ict_expressions_move_the_face_as_their_names_say(ict):
    assert tuple(ict.expressions) == EXPRESSIONS
    corners, brows, inner_brows, chin, lids = [48, 54], list(range(17, 27)), [21, 22], [8], [37, 38, 43, 44]
    assert movement(ict, "happy")[corners, 1].mean() > 0.02
    assert movement(ict, "sad")[corners, 1].mean() < -0.02
    assert movement(ict, "sad")[inner_brows, 1].mean() > 0.01
    assert movement(ict, "surprised")[chin, 1].mean() < -0.1
    assert movement(ict, "surprised")[brows, 1].mean() > 0.03
    assert movement(ict, "angry")[inner_brows, 1].mean() < -0.02
    assert movement(ict, "fearful")[lids, 1].mean() > 0.01
    lifted = movement(ict, "contemptuous")[corners, 1]
    assert abs(lifted[0] - lifted[1]) > 0.03
    nose = movement(ict, "disgusted")[31:36, 1].mean()
    assert nose > 0.005


@needs_ict
def test_ict_parts_and_mirror_are_where_they_should_be(ict):
    topology, face = ict.topology, ict.mean_face().numpy()
    points = face[topology.landmarks]
    parts = topology.vertex_parts
    for part in (Part.LIPS, Part.NOSE, Part.BROWS, Part.SCLERA, Part.IRIS, Part.PUPIL, Part.HAIR, Part.NECK, Part.EARS):
        assert (parts == part).sum() > 20, part.name
    lips = face[parts == Part.LIPS]
    assert lips[:, 0].min() >= points[48, 0] - 0.2
    assert lips[:, 0].max() <= points[54, 0] + 0.2
    pupils = face[parts == Part.PUPIL]
    assert np.abs(pupils[pupils[:, 0] < 0].mean(0) - points[36:42].mean(0))[:2].max() < 0.5
    assert topology.has_eyeballs
    mirror = topology.mirror
    assert np.array_equal(mirror[mirror], np.arange(len(mirror)))
    assert (mirror != np.arange(len(mirror))).mean() > 0.95
    assert (np.abs(face[mirror] * [-1, 1, 1] - face).max(1) < 0.11).mean() > 0.999  # two of its vertices have no twin
    assert (parts[mirror] == parts).mean() > 0.97


@needs_ict
def test_ict_jaw_slides_over_the_cheek(ict):
    projected = Camera.create(yaw=45.0, scale=10.0).project(ict.mean_face()[None])
    moved = ict.landmark_indices(projected)[0]
    fixed = torch.from_numpy(ict.topology.landmarks).long()
    assert (moved[9:16] != fixed[9:16]).sum() >= 4
    face = ict.mean_face()
    frontal = ict.landmark_indices(Camera.create(scale=10.0).project(face[None]))[0]
    assert (face[frontal] - face[fixed])[:, :2].norm(dim=-1).max() < 0.7


@needs_ict
def test_a_damaged_ict_folder_is_named(ict_folder, tmp_path):
    with pytest.raises(LsslError, match="no such file"):
        import_ict(tmp_path / "nowhere")
    with pytest.raises(LsslError, match=r"no generic_neutral_mesh\.obj"):
        import_ict(tmp_path)
    (tmp_path / "generic_neutral_mesh.obj").write_bytes((ict_folder / "generic_neutral_mesh.obj").read_bytes())
    with pytest.raises(LsslError, match="0 identity and 0 expression shapes"):
        import_ict(tmp_path)
    for path in ict_folder.glob("*.obj"):
        if path.stem != "generic_neutral_mesh":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "identity002.obj").unlink()
    whole = (ict_folder / "identity002.obj").read_bytes()
    (tmp_path / "identity002.obj").write_bytes(whole[: len(whole) // 8])
    with pytest.raises(LsslError, match=r"identity002\.obj: \d+ vertices, expected 26719"):
        import_ict(tmp_path)
    packed = tmp_path / "half.tar.xz"
    packed.write_bytes(ICT.read_bytes()[:100_000])
    with pytest.raises(LsslError, match="not a complete tar"):
        import_ict(packed)


def test_facewarehouse_comes_back_with_names_found_by_movement(embedded, tmp_path, scan_files):
    marks = scan_files.write_facewarehouse(tmp_path, embedded)
    model, report = import_facewarehouse(tmp_path, marks)
    assert report.identities == 5
    assert report.rms_error < 0.02
    assert np.array_equal(model.topology.landmarks, embedded.topology.landmarks)
    assert tuple(model.expressions) == EXPRESSIONS
    for name in ("happy", "surprised", "sad"):
        wanted, found = movement(embedded, name).ravel(), movement(model, name).ravel()
        assert np.corrcoef(wanted, found)[0, 1] > 0.9, name
    mean = model.mean_face()[model.topology.landmarks]
    assert (mean[45] - mean[36]).norm().item() == pytest.approx(8.9, rel=0.01)


def test_damaged_facewarehouse_files_are_named(embedded, tmp_path, scan_files):
    with pytest.raises(LsslError, match="Tester_1"):
        import_facewarehouse(tmp_path, None)
    marks = scan_files.write_facewarehouse(tmp_path, embedded, count=2)
    with pytest.raises(LsslError, match="--landmarks"):
        import_facewarehouse(tmp_path, None)
    path = tmp_path / "Tester_2" / "Blendshape" / "shape.bs"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(LsslError, match=r"shape\.bs: \d+ bytes, but 4 shapes"):
        import_facewarehouse(tmp_path, marks)
    path.write_bytes(b"\x01\x00")
    with pytest.raises(LsslError, match="too short"):
        read_shape_bs(path)
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(LsslError, match="not a FaceWarehouse"):
        read_shape_bs(path)
    path.write_bytes(whole)
    marks.write_text("1 2 three")
    with pytest.raises(ValueError, match=r"landmarks\.txt.*three"):
        import_facewarehouse(tmp_path, marks)
    marks.write_text(" ".join(["999999"] * 68))
    with pytest.raises(LsslError, match="beyond"):
        import_facewarehouse(tmp_path, marks)


def test_facescape_keeps_its_shapes_in_centimetres(embedded, tmp_path, scan_files):
    path = tmp_path / "facescape_bm_v1.6_847_50_52_id_front.npz"
    scan_files.write_facescape(path, embedded)
    model = import_facescape(path)
    assert model.topology.num_vertices == embedded.topology.num_vertices
    assert np.array_equal(model.topology.landmarks, embedded.topology.landmarks)
    scan = scan_files.people(embedded, 1)[0]  # any person will do, as sizes are similar
    size = np.linalg.norm(np.ptp(scan[0], axis=0))
    mean = model.mean_face().numpy()
    assert np.linalg.norm(np.ptp(mean, axis=0)) == pytest.approx(size, rel=0.15)
    expected = embedded.vertices(
        torch.nn.functional.pad(embedded.identity_mean[:6], (0, embedded.num_identity - 6))[None],
        embedded.expression("happy")[None],
    )[0].numpy()
    made = model.vertices(
        model.identity_mean[None], torch.eye(len(scan_files.NAMES))[[0]] + torch.eye(len(scan_files.NAMES))[[1]]
    )[0].numpy()
    gap = (made - made.mean(0)) - (expected - expected.mean(0))
    assert np.abs(gap).max() < 0.01
    assert np.corrcoef(movement(embedded, "happy").ravel(), movement(model, "happy").ravel())[0, 1] > 0.9


def test_facescape_with_pickle_is_read_only_on_request(embedded, tmp_path, scan_files):
    path = tmp_path / "facescape.npz"
    scan_files.write_facescape(
        path, embedded, lm_list_v16=np.array(list(embedded.topology.landmarks + 10), dtype=object)
    )
    with pytest.raises(LsslError, match="--allow-pickle"):
        import_facescape(path)
    assert import_facescape(path, allow_pickle=True).num_expression == len(scan_files.NAMES)


def test_damaged_facescape_files_are_named(embedded, tmp_path, scan_files):
    path = tmp_path / "facescape.npz"
    with pytest.raises(LsslError, match="no such file"):
        import_facescape(path)
    path.write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(LsslError, match=r"facescape\.npz"):
        import_facescape(path)
    np.savez(path, shape_bm_core=np.zeros(3))
    with pytest.raises(LsslError, match="no fv_indices_front"):
        import_facescape(path)
    scan_files.write_facescape(path, embedded, id_mean=np.zeros(3, np.float32))
    with pytest.raises(LsslError, match="id_mean"):
        import_facescape(path)
    scan_files.write_facescape(path, embedded, lm_list_v16=np.arange(68))
    with pytest.raises(LsslError, match="not on the front"):
        import_facescape(path)
    rng = np.random.default_rng(0)
    components = rng.normal(0, 50, (3 * (10 + embedded.topology.num_vertices), 4, 6)).astype(np.float32)
    scan_files.write_facescape(path, embedded, shape_bm_core=components)
    with pytest.raises(LsslError, match="principal components"):
        import_facescape(path)

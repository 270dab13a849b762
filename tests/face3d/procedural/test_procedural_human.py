"""The embedded model's proportions and variety, against a real face model, and against a landmark detector."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lssl.data import detect
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.face3d.scene.camera import Camera
from lssl.face3d.scene.lighting import Lighting
from lssl.face3d.scene.render import render

Array = NDArray[np.float64]

ICT = Path(__file__).parents[4] / "shared" / "data" / "ict-facekit.tar.xz"
# The 68 landmarks' vertices, from the model's documentation.
ICT_LANDMARKS = [
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443, 268, 493, 1914,
    2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360, 1507, 1542, 1537,
    1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732, 5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957,
    5841, 5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966,
]  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> BilinearFaceModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSSL_CACHE", str(tmp_path_factory.mktemp("cache")))
        return load_embedded_model()


@pytest.fixture(scope="module")
def ict() -> list[Array]:
    """Landmarks (68, 3) of the generic face, then of the identities."""
    if not ICT.exists():
        pytest.skip("../shared/data/ict-facekit.tar.xz is not here")
    faces = []
    with tarfile.open(ICT) as archive:
        members = {Path(m.name).name: m for m in archive.getmembers() if m.name.endswith(".obj")}
        identities = sorted(name for name in members if name.startswith("identity"))
        for name in ["generic_neutral_mesh.obj", *identities]:
            file = archive.extractfile(members[name])
            assert file is not None
            lines = [line.split()[1:4] for line in file if line.startswith(b"v ")]
            faces.append(np.array(lines, dtype=np.float64)[ICT_LANDMARKS])
    return faces


def _aligned(points: Array, target: Array) -> Array:
    """`points` moved onto `target` by the least-squares similarity (Umeyama 1991)."""
    a, b = points - points.mean(0), target - target.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    return (s * sign).sum() / (a**2).sum() * a @ (u * sign) @ vt + target.mean(0)


def _error(points: Array, target: Array) -> float:
    """Mean distance of aligned landmarks, as a share of the distance between the outer corners of the eyes."""
    distance = np.linalg.norm(_aligned(points, target) - target, axis=1)
    return float(distance.mean() / np.linalg.norm(target[36] - target[45]))


@pytest.mark.slow
def test_mean_face_has_human_proportions(model: BilinearFaceModel, ict: list[Array]) -> None:
    mean = model.mean_face()[torch.from_numpy(model.topology.landmarks).long()].double().numpy()
    assert _error(mean, ict[0]) < 0.08


@pytest.mark.slow
def test_identity_weights_reach_real_people(model: BilinearFaceModel, ict: list[Array]) -> None:
    subset = torch.from_numpy(model.topology.landmarks).long()
    neutral = model.expression("neutral")
    modes = torch.einsum("vcr,rie,e->ivc", model.basis[subset], model.core, neutral).double().numpy()
    errors = []
    for target in ict[1:]:
        weights = np.zeros(model.num_identity)
        weights[0] = 1.0
        design = modes[1:].reshape(len(weights) - 1, -1)
        for _ in range(10):
            wanted = _aligned(target, np.tensordot(weights, modes, 1)) - modes[0]
            weights[1:] = np.linalg.solve(design @ design.T + 0.02 * np.eye(len(design)), design @ wanted.ravel())
        assert np.abs(weights[1:]).max() < 3.5, "not a likely person"
        errors.append(_error(np.tensordot(weights, modes, 1), target))
    assert np.mean(errors) < 0.05, errors


@pytest.mark.slow
def test_detector_finds_the_faces_and_agrees_on_landmarks(model: BilinearFaceModel) -> None:
    if not detect.available():
        pytest.skip("dlib or its landmark model is not installed")
    size, count = 256, 12
    generator = torch.Generator().manual_seed(1)
    vertices = model.vertices(model.sample_identity(count, generator), model.expression("neutral")[None])
    albedo = model.albedo(model.sample_albedo(count, generator))
    camera = Camera.create(scale=[size / 26] * count, x=(size - 1) / 2, y=(size - 1) / 2)
    images = render(vertices, albedo, model.topology, camera, Lighting.named(["normal"] * count), size).images
    pictures = ((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    landmarks = model.landmarks(camera.project(vertices))[..., :2].numpy()
    errors = []
    for picture, truth in zip(pictures, landmarks, strict=True):
        points = detect.detect_landmarks(picture)
        if points is not None:
            errors.append(np.linalg.norm(points - truth, axis=1).mean() / np.linalg.norm(truth[36] - truth[45]))
    assert len(errors) >= count - 1
    assert np.mean(errors) < 0.05, errors

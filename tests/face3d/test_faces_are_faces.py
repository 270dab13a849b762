"""The embedded model's faces look like faces: a detector finds them, classifiers read them, proportions are human."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lssl.data import detect
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.generate import FaceGenerator, GenerateConfig
from lssl.face3d.model.importers.ict import import_ict
from lssl.models.classifier import SmallClassifier

ICT = Path(__file__).parents[3] / "shared" / "data" / "ict-facekit.tar.xz"
needs_ict = pytest.mark.skipif(not ICT.is_file(), reason=f"the ICT-FaceKit sample {ICT.name} is not at hand")


@pytest.fixture(scope="module")
def model():
    return load_embedded_model()


@pytest.fixture(scope="module")
def ict():
    return import_ict(ICT)


def similarity(source, target):
    """source (K, 3) moved, turned and scaled onto target (K, 3), least squares, no mirroring."""
    a, b = source - source.mean(0), target - target.mean(0)
    left, singular, right = np.linalg.svd(a.T @ b)
    sign = np.array([1, 1, np.sign(np.linalg.det(left @ right))])
    scale = (singular * sign).sum() / (a**2).sum()
    return scale * a @ (left * sign) @ right + target.mean(0)


def distance(made, target):
    """Mean distance of landmarks, as a share of the distance between the outer eye corners."""
    return np.linalg.norm(made - target, axis=1).mean() / np.linalg.norm(target[45] - target[36])


@needs_ict
def test_the_mean_face_has_human_proportions(model, ict):
    made, real = (m.mean_face().double().numpy()[m.topology.landmarks] for m in (model, ict))
    assert distance(similarity(made, real), real) < 0.08


@needs_ict
def test_identity_modes_reach_real_identities(model, ict):
    landmarks = torch.from_numpy(model.topology.landmarks).long()
    design = torch.einsum("kcr,rie,e->kci", model.basis[landmarks], model.core, model.expression("neutral"))
    mean, modes = design[..., 0].double().numpy(), design[..., 1:].double().numpy().reshape(68 * 3, -1)
    errors, unfitted, sizes = [], [], []
    for number in range(1, ict.num_identity):
        weights = ict.identity_mean.clone()
        weights[number] += 1
        real = ict.vertices(weights[None], ict.expression("neutral")[None])[0].double().numpy()
        real = real[ict.topology.landmarks]
        z = np.zeros(modes.shape[1])
        for _ in range(20):
            goal = similarity(real, mean + (modes @ z).reshape(68, 3)) - mean
            z = np.linalg.solve(modes.T @ modes + 0.01 * np.eye(len(z)), modes.T @ goal.ravel())
        errors.append(distance(similarity(mean + (modes @ z).reshape(68, 3), real), real))
        unfitted.append(distance(similarity(mean, real), real))
        sizes.append(np.abs(z).max())
    assert np.mean(errors) < 0.05
    assert np.mean(errors) < 0.8 * np.mean(unfitted)
    assert np.mean(sizes) < 3  # with identities that are likely under the prior


@pytest.mark.slow
@pytest.mark.skipif(not detect.available(), reason=detect.EXTRA_MISSING)
def test_a_face_detector_finds_them_and_agrees_on_the_landmarks(model):
    generator = FaceGenerator(model, GenerateConfig(subjects=8, size=160, seed=11))
    errors = []
    for face in generator.render(generator.cells[::2]):
        found = detect.find_faces(np.ascontiguousarray(face.image.permute(1, 2, 0).numpy()))
        assert found, f"no face in {face.cell}"
        points, truth = max(found, key=lambda f: f.score).landmarks, face.landmarks.numpy()
        errors.append(np.linalg.norm(points - truth, axis=1).mean() / np.linalg.norm(truth[45] - truth[36]))
    assert np.mean(errors) < 0.05


@pytest.mark.slow
def test_a_small_network_reads_expressions_of_strangers_and_landmarks_alone_do_not(model):
    torch.manual_seed(0)
    config = GenerateConfig(subjects=80, test_fraction=0.25, lighting=("normal", "weak"), size=96)
    generator = FaceGenerator(model, config)
    faces = [f for i in range(0, len(generator.cells), 16) for f in generator.render(generator.cells[i : i + 16])]
    names = sorted(model.expressions)
    labels = torch.tensor([names.index(f.cell.expression) for f in faces])
    images = torch.stack([f.image for f in faces])[:, :, 18:84, 15:81].float()
    images = F.interpolate(images, size=(64, 64), mode="bilinear", antialias=True)
    images = (images - images.mean((1, 2, 3), keepdim=True)) / images.std((1, 2, 3), keepdim=True)
    train = torch.tensor([generator.split(f.cell.subject) == "train" for f in faces])
    normal = torch.tensor([f.cell.lighting == "normal" for f in faces])
    strangers = ~train & normal
    assert len({f.cell.subject for f, t in zip(faces, train, strict=True) if t}) == 60

    accuracy = _train(images[train], labels[train], images[strangers], labels[strangers], len(names))
    assert accuracy >= 0.95

    points = torch.stack([f.landmarks for f in faces])
    left, right = points[:, 36:42].mean(1), points[:, 42:48].mean(1)
    shape = (points - (left + right)[:, None] / 2) / (right - left).norm(dim=-1)[:, None, None]
    nearest = torch.cdist(shape[strangers].flatten(1), shape[train & normal].flatten(1)).argmin(1)
    by_landmarks = (labels[train & normal][nearest] == labels[strangers]).float().mean().item()
    assert 0.3 < by_landmarks < accuracy - 0.1


def _train(images, labels, test_images, test_labels, classes, epochs=20, batch=32):
    network = SmallClassifier(classes, width=16)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    steps = epochs * -(-len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(batch):
            flip = torch.rand(len(rows), 1, 1, 1) < 0.5
            x = torch.where(flip, images[rows].flip(-1), images[rows])
            x = torch.roll(x, torch.randint(-2, 3, (2,)).tolist(), (2, 3))
            loss = F.cross_entropy(network(x), labels[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        return (network(test_images).argmax(1) == test_labels).float().mean().item()

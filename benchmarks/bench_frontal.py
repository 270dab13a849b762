"""Fits per second, and frontal faces per second with where the time goes: landmarks, fit, texture and drawing, files.

The threshold for fitting is 20 single-view fits per second on two cores with the embedded model.
"""

import numpy as np
import pytest
import torch

from lssl.data import detect
from lssl.data.images import read_image
from lssl.data.writer import write_image
from lssl.face3d import fit_landmarks, render_frontal
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.scene.framing import portrait_camera
from lssl.face3d.scene.lighting import Lighting
from lssl.face3d.scene.render import render
from lssl.face3d.sheet import to_uint8
from lssl.inference.frontal_jobs import photograph_jobs
from lssl.inference.frontalize import Options, frontalize

SIZE, BATCH, PHOTOGRAPH = 128, 64, 512


@pytest.fixture(scope="module")
def people():
    """The model, landmarks (BATCH, 68, 2) with noise at 128 pixels, a photograph of the first with its landmarks."""
    model = load_embedded_model()
    generator = torch.Generator().manual_seed(0)
    vertices = model.vertices(model.sample_identity(BATCH, generator), model.expression("happy")[None])
    places = vertices[:, torch.from_numpy(model.topology.landmarks).long()]
    camera = portrait_camera(places, SIZE, yaw=25.0)
    landmarks = model.landmarks(camera.project(vertices))[..., :2]
    large = portrait_camera(places[:1], PHOTOGRAPH, yaw=25.0)
    albedo = model.albedo(model.sample_albedo(1, generator))
    picture = render(vertices[:1], albedo, model.topology, large, Lighting.named("normal"), PHOTOGRAPH, background=0.4)
    points = model.landmarks(large.project(vertices[:1]))[..., :2]
    noise = torch.randn(landmarks.shape, generator=generator)
    return model, landmarks + noise, to_uint8(picture.images)[0], points


def note_a_second(row, count, what):
    seconds = sorted(row.samples["native"])[len(row.samples["native"]) // 2]
    row.note = f"{count / seconds:,.1f} {what} per second"


@pytest.mark.parametrize(("count", "views"), [(1, 1), (BATCH, 1), (BATCH // 2, 2)], ids=str)
def test_fit(compare, device, people, count, views):
    model = people[0].to(device)
    points = people[1][: count * views].unflatten(0, (count, views)).to(device)
    row = compare(
        "fit_landmarks",
        shape=f"{count} subjects, {views} views, {model.num_identity} identity weights",
        dtype=torch.float64,
        device=device,
        inputs=lambda: (points,),
        native=lambda points: fit_landmarks(model, points),
        compiled=False,
    )
    note_a_second(row, count, "fits")


def test_parts(compare, device, people, tmp_path):
    """The whole work for one photograph; the row's note has the parts."""
    if device != "cpu":
        pytest.skip("frontal faces are drawn on the CPU")
    model, _, image, points = people
    path = tmp_path / "photo.png"
    write_image(path, image)
    fit = fit_landmarks(model, points)
    job = photograph_jobs([path])[0]
    known = type(job)(job.key, job.photographs, (None,), job.subject, points=(points[0].numpy(),))
    options = Options(size=SIZE)
    parts = {
        "reading": lambda _: read_image(path),
        "fit": lambda _: fit_landmarks(model, points),
        "texture_and_drawing": lambda _: render_frontal(model, fit, [image], size=SIZE),
        "original_background": lambda _: render_frontal(model, fit, [image], size=SIZE, background="original"),
    }
    if detect.available():
        parts = {"landmarks_by_dlib": lambda _: detect.find_faces(image), **parts}
    row = compare(
        "render-frontal, landmarks given",
        shape=f"photograph of {PHOTOGRAPH} pixels, face of {SIZE}",
        dtype=torch.float32,
        device=device,
        inputs=lambda: (np.zeros(1),),
        native=lambda _: frontalize(known, options, tmp_path / "out"),
        compiled=False,
        seconds=6.0,
        **parts,
    )
    note_a_second(row, 1, "photographs")

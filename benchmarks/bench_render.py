"""Faces per second: from weights to shaded 128x128 pictures, and the whole work of `lssl generate-faces`.

Eager is the same with the reference rasterizer; the floor is rasterizing and interpolating only, at twice the size.
"""

import pytest
import torch

from lssl import ops
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.generate import FaceGenerator, GenerateConfig
from lssl.face3d.generated import write_generated
from lssl.face3d.scene import render as rendering
from lssl.face3d.scene.framing import portrait_camera
from lssl.face3d.scene.lighting import Lighting
from lssl.ops import reference

SIZE, BATCH = 128, 16


def with_reference(call):
    """The same call through the reference operators."""

    def run(*arguments):
        native = rendering.rasterize, rendering.interpolate
        rendering.rasterize, rendering.interpolate = reference.rasterize, reference.interpolate
        try:
            return call(*arguments)
        finally:
            rendering.rasterize, rendering.interpolate = native

    return run


def note_faces_a_second(row, count):
    seconds = sorted(row.samples["native"])[len(row.samples["native"]) // 2]
    row.note = f"{count / seconds:,.0f} faces per second"


def test_render(compare, device, full):
    model = load_embedded_model().to(device)
    where = torch.from_numpy(model.topology.landmarks).long()
    neutral = model.vertices(model.identity_mean[None], model.expression("neutral")[None], where.to(device))
    camera = portrait_camera(neutral.cpu().expand(BATCH, -1, -1), SIZE, yaw=20.0, distance=130.0).to(device)
    lights = Lighting.named(["normal"] * BATCH).to(device)

    def inputs():
        return model.sample_identity(BATCH), model.sample_albedo(BATCH).to(device)

    def draw(identity, albedo):
        vertices = model.vertices(identity, model.expression("happy")[None])
        return rendering.render(vertices, model.albedo(albedo), model.topology, camera, lights, SIZE)

    def floor(identity, albedo):
        vertices = model.vertices(identity, model.expression("happy")[None])
        triangle, barycentric, _ = ops.rasterize(camera.zoom(2).project(vertices), model.faces, 2 * SIZE, 2 * SIZE)
        attributes = torch.cat([vertices, model.albedo(albedo)], -1)
        return ops.interpolate(triangle, barycentric, model.faces, attributes)

    note_faces_a_second(
        compare(
            "render",
            shape=f"{BATCH} faces, {SIZE}x{SIZE}, {len(model.faces)} triangles, 4 samples per pixel",
            dtype=torch.float32,
            device=device,
            inputs=inputs,
            native=draw,
            eager=with_reference(draw) if full else None,
            compiled=False,
            floor=floor,
        ),
        BATCH,
    )


def test_generate(compare, device, tmp_path):
    if device != "cpu":
        pytest.skip("faces are generated on the CPU")
    generator = FaceGenerator(load_embedded_model(), GenerateConfig(subjects=12, size=SIZE))
    count = len(generator.cells)
    row = compare(
        "generate-faces, with files",
        shape=f"{count} faces, {SIZE}x{SIZE}",
        dtype=torch.float32,
        device=device,
        inputs=lambda: (generator,),
        native=lambda generator: write_generated(tmp_path / "faces", generator, model="embedded", overwrite=True),
        compiled=False,
    )
    note_faces_a_second(row, count)

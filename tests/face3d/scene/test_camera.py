"""The 3D conventions: axes, signs of angles, depth, pixels."""

import pytest
import torch

from lssl.face3d import Camera
from lssl.face3d.scene.camera import euler_angles, rotation_matrix

NOSE = torch.tensor([[0.0, 0.0, 10.0]])


def test_rotation_is_roll_after_pitch_after_yaw():
    def turn(axis, degrees):
        c, s = torch.cos(torch.deg2rad(torch.tensor(degrees))), torch.sin(torch.deg2rad(torch.tensor(degrees)))
        if axis == "x":
            return torch.tensor([[1, 0, 0], [0, c, -s], [0, s, c]])
        if axis == "y":
            return torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        return torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]])

    expected = turn("z", 10.0) @ turn("x", 20.0) @ turn("y", 30.0)
    made = rotation_matrix(torch.tensor([30.0]), torch.tensor([20.0]), torch.tensor([10.0]))[0]
    assert torch.allclose(made, expected, atol=1e-6)


def test_euler_angles_invert_the_rotation():
    generator = torch.Generator().manual_seed(0)
    angles = [torch.rand(50, generator=generator, dtype=torch.float64) * 160 - 80 for _ in range(3)]
    for made, given in zip(euler_angles(rotation_matrix(*angles)), angles, strict=True):
        assert torch.allclose(made, given, atol=1e-6)


@pytest.mark.parametrize(
    ("pose", "right", "down"),
    [({"yaw": 30.0}, 5.0, 0.0), ({"yaw": -30.0}, -5.0, 0.0), ({"pitch": 30.0}, 0.0, 5.0)],
)
def test_signs_of_yaw_and_pitch(pose, right, down):
    x, y, _ = Camera.create(**pose).project(NOSE)[0, 0].tolist()
    assert x == pytest.approx(right, abs=1e-5)
    assert y == pytest.approx(down, abs=1e-5)


def test_positive_roll_is_counter_clockwise_in_the_image():
    x, y, _ = Camera.create(roll=90.0).project(torch.tensor([[1.0, 0.0, 0.0]]))[0, 0].tolist()
    assert (x, y) == (pytest.approx(0, abs=1e-6), pytest.approx(-1))


def test_depth_is_smaller_nearer_and_perspective_enlarges_what_is_near():
    camera = Camera.create(scale=2.0, x=50.0, y=40.0, distance=[float("inf"), 100.0])
    points = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 20.0], [1.0, 1.0, -20.0]])
    weak, full = camera.project(points)
    assert weak[:, 0].tolist() == [52.0, 52.0, 52.0]
    assert weak[:, 1].tolist() == [38.0, 38.0, 38.0]
    assert weak[1, 2] < weak[0, 2] < weak[2, 2]
    assert full[0, :2].tolist() == [52.0, 38.0]
    assert full[1, 0].item() == pytest.approx(50 + 2 / 0.8)
    assert full[1, 2] < full[0, 2] < full[2, 2]


def test_perspective_depth_is_linear_over_a_plane_in_the_image():
    camera = Camera.create(yaw=35.0, pitch=10.0, scale=3.0, distance=60.0)
    a, b = torch.tensor([-4.0, 1.0, 3.0]), torch.tensor([5.0, -2.0, 8.0])
    line = torch.stack([a + t * (b - a) for t in torch.linspace(0, 1, 7)])
    x, _, depth = camera.project(line)[0].unbind(-1)
    straight = depth[0] + (x - x[0]) / (x[-1] - x[0]) * (depth[-1] - depth[0])
    assert torch.allclose(depth, straight, atol=1e-4)


def test_zoom_keeps_pixel_areas():
    camera = Camera.create(scale=3.0, x=10.0, y=20.0)
    point = torch.tensor([[1.5, -2.0, 0.0]])
    old, new = camera.project(point)[0, 0], camera.zoom(2).project(point)[0, 0]
    assert torch.allclose(new[:2] + 0.5, (old[:2] + 0.5) * 2)


def test_projection_is_differentiable():
    yaw = torch.tensor([20.0], dtype=torch.float64, requires_grad=True)
    points = torch.randn(1, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    zero, distance = torch.zeros(1, dtype=torch.float64), torch.tensor([50.0], dtype=torch.float64)

    def project(yaw, points):
        return Camera(yaw, zero, zero, zero + 2, zero, zero, distance).project(points)

    assert torch.autograd.gradcheck(project, (yaw, points))

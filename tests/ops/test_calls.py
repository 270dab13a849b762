"""Calls as users write them: wrong arguments are named, torch.func's transforms work, ONNX takes the operators."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lssl.ops import (
    PixelShuffleInstanceNorm,
    gradient_penalty,
    interpolate,
    landmark_heatmap,
    pixel_shuffle_instance_norm,
    rasterize,
    reference,
)


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return request.param


def scene(device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    vertices = (torch.rand(2, 5, 3, generator=generator, dtype=torch.float64) * 8).to(device)
    faces = torch.tensor([[0, 1, 2], [2, 3, 4], [1, 3, 0]], dtype=torch.int32, device=device)
    return *rasterize(vertices, faces, 8, 8)[:2], faces, vertices


def operators(device: str) -> dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], Tensor]]:
    """(the operator, its reference, the inputs that it is differentiated in)"""
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(2, 8, 3, 3, generator=generator, dtype=torch.float64).to(device)
    points = (torch.rand(2, 3, 2, generator=generator, dtype=torch.float64) * 6).to(device)
    triangle, barycentric, faces, vertices = scene(device)
    return {
        "pixel_shuffle_instance_norm": (
            lambda x: pixel_shuffle_instance_norm(x, activation="leaky_relu"),
            lambda x: reference.pixel_shuffle_instance_norm(x, activation="leaky_relu"),
            image,
        ),
        "landmark_heatmap": (
            lambda p: landmark_heatmap(p, 6, 6, 1.5),
            lambda p: reference.landmark_heatmap(p, 6, 6, 1.5),
            points,
        ),
        "interpolate": (
            lambda a: interpolate(triangle, barycentric, faces, a),
            lambda a: reference.interpolate(triangle, barycentric, faces, a),
            vertices,
        ),
    }


OPERATORS = ["pixel_shuffle_instance_norm", "landmark_heatmap", "interpolate"]


@pytest.mark.parametrize("name", OPERATORS)
def test_functional_gradients(name: str, device: str) -> None:
    op, expected, x = operators(device)[name]
    mine = torch.func.grad(lambda x: op(x).sin().sum())(x)
    torch.testing.assert_close(mine, torch.func.grad(lambda x: expected(x).sin().sum())(x))
    torch.testing.assert_close(torch.func.jacrev(op)(x), torch.func.jacrev(expected)(x))


@pytest.mark.parametrize("name", OPERATORS)
def test_forward_mode(name: str, device: str) -> None:
    op, expected, x = operators(device)[name]
    direction = torch.ones_like(x)
    for mine, theirs in zip(
        torch.func.jvp(op, (x,), (direction,)), torch.func.jvp(expected, (x,), (direction,)), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


def test_what_is_no_tensor_is_named() -> None:
    x = torch.zeros(1, 4, 2, 2)
    with pytest.raises(TypeError, match="upscale_factor=2"):
        pixel_shuffle_instance_norm(x, 2)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="input must be a tensor, got list"):
        pixel_shuffle_instance_norm([1.0])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="landmarks must be a tensor"):
        landmark_heatmap([[1.0, 2.0]], 4, 4, 1.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="faces must be a tensor"):
        rasterize(torch.zeros(1, 3, 3), [[0, 1, 2]], 4, 4)  # type: ignore[arg-type]


def test_one_weight_for_all_mixtures() -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(16, 1))
    real, fake = torch.randn(2, 5, 3, 4, 4)
    expected = gradient_penalty(critic, real, fake, alpha=torch.full((5,), 0.5))
    assert torch.equal(gradient_penalty(critic, real, fake, alpha=0.5), expected)
    assert torch.equal(reference.gradient_penalty(critic, real, fake, alpha=0.5), reference.gradient_penalty(
        critic, real, fake, alpha=torch.full((5,), 0.5)
    ))  # fmt: skip
    with pytest.raises(TypeError, match="alpha must be a tensor"):
        gradient_penalty(critic, real, fake, alpha=[0.5] * 5)  # type: ignore[arg-type]


class Drawing(nn.Module):
    """A heatmap and a shuffled, normalized convolution: the operators of the paper's generator."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.norm = PixelShuffleInstanceNorm(4, activation="relu")

    def forward(self, image: Tensor, landmarks: Tensor) -> Tensor:
        maps = landmark_heatmap(landmarks, 12, 12, 2.0, reduction="max")
        return torch.cat([self.norm(self.conv(image)), maps], 1)


def test_onnx_computes_the_same(tmp_path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'lssl[export]'")
    pytest.importorskip("onnxscript", reason="pip install 'lssl[export]'")
    torch.manual_seed(0)
    module, inputs = Drawing().eval(), (torch.randn(2, 3, 6, 6), torch.rand(2, 5, 2) * 12)
    path = tmp_path / "drawing.onnx"
    torch.onnx.export(module, inputs, path, dynamo=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    named = {entry.name: tensor.numpy() for entry, tensor in zip(session.get_inputs(), inputs, strict=True)}
    (output,) = session.run(None, named)
    torch.testing.assert_close(torch.from_numpy(output), module(*inputs), rtol=1e-4, atol=1e-5)

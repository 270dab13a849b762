"""Runs every operator and its gradient once, at shapes that are awkward for its kernels, for compute-sanitizer.

    compute-sanitizer --tool memcheck python benchmarks/every_operator.py
    compute-sanitizer --tool racecheck python benchmarks/every_operator.py --few

The values are compared with the references, so a kernel that writes wrong values within bounds is found, too.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from lssl import ops
from lssl.ops import reference
from lssl.ops.gradient_penalty import kernels as penalty_kernels

FORMATS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-3, torch.float16: 5e-2, torch.bfloat16: 2e-1}

# N, C (of the output), H, W, r: planes smaller than a block's share, odd sizes, several chunks, and two passes.
NORMS = [
    (1, 8, 1, 1, 2),
    (2, 8, 2, 2, 2),
    (3, 16, 3, 5, 2),
    (2, 32, 8, 8, 2),
    (1, 8, 17, 24, 2),
    (1, 3, 7, 5, 3),
    (2, 5, 9, 11, 1),
    (2, 24, 16, 16, 1),
    (1, 8, 100, 72, 1),
    (1, 8, 100, 92, 2),
    (1, 8, 192, 184, 1),
]
FEW_NORMS = [(2, 8, 2, 2, 2), (1, 8, 17, 24, 2), (2, 24, 16, 16, 1)]


def norms(few: bool, device: str) -> Iterator[tuple[str, list[Tensor], list[Tensor]]]:
    for n, c, h, w, r in FEW_NORMS if few else NORMS:
        for dtype in (torch.float32, torch.bfloat16) if few else TOLERANCE:
            for layout, memory_format, size in ((*named, size) for named in FORMATS.items() for size in ((c,), (n, c))):
                x = torch.randn(n, c * r * r, h, w, device=device).to(dtype).contiguous(memory_format=memory_format)
                weight, bias = torch.rand(size, device=device) + 0.5, torch.randn(size, device=device)
                grad = torch.randn(n, c, h * r, w * r, device=device).to(dtype)
                inputs = [t.requires_grad_() for t in (x, weight, bias)]

                def run(op: Callable[..., Tensor], inputs: list = inputs, grad: Tensor = grad, r: int = r) -> list:
                    # No activation if a plane has one value: rounding decides its sign.
                    y = op(*inputs, r, activation="leaky_relu" if grad[0, 0].numel() > 1 else "none")
                    return [y, *torch.autograd.grad(y, inputs, grad)]

                name = f"pixel_shuffle_instance_norm {(n, c, h, w)} r={r} {dtype} {layout} affine {size}"
                pair = run(ops.pixel_shuffle_instance_norm), run(reference.pixel_shuffle_instance_norm)
                yield name, *pair


def heatmaps(few: bool, device: str) -> Iterator[tuple[str, list[Tensor], list[Tensor]]]:
    for n, k, h, w in [(2, 5, 9, 7)] if few else [(2, 5, 9, 7), (1, 70, 33, 130), (2, 68, 128, 128)]:
        for dtype in (torch.float32, torch.float64):
            for reduction in ("none", "sum", "max"):
                size = torch.tensor([w, h], dtype=dtype, device=device)
                points = torch.rand(n, k, 2, dtype=dtype, device=device) * size
                inputs = [points.requires_grad_(), torch.full((k,), 2.5, dtype=dtype, device=device).requires_grad_()]
                visible = torch.rand(n, k, device=device) > 0.2
                grad = torch.randn(n, k if reduction == "none" else 1, h, w, dtype=dtype, device=device)

                def run(
                    op: Callable[..., Tensor],
                    inputs: list = inputs,
                    grad: Tensor = grad,
                    visible: Tensor = visible,
                    reduction: str = reduction,
                ) -> list[Tensor]:
                    maps = op(inputs[0], grad.shape[2], grad.shape[3], inputs[1], visible=visible, reduction=reduction)
                    return [maps, *torch.autograd.grad(maps, inputs, grad)]

                name = f"landmark_heatmap {(n, k, h, w)} {dtype} {reduction}"
                yield name, run(ops.landmark_heatmap), run(reference.landmark_heatmap)


def rasters(few: bool, device: str) -> Iterator[tuple[str, list[Tensor], list[Tensor]]]:
    for n, v, f, h, w in [(2, 9, 30, 17, 21)] if few else [(1, 3, 1, 1, 1), (2, 9, 30, 17, 21), (2, 400, 2500, 40, 33)]:
        for dtype in (torch.float32, torch.float64):
            spread = torch.tensor([w * 1.4, h * 1.4, 5.0], dtype=dtype, device=device)
            vertices = torch.rand(n, v, 3, dtype=dtype, device=device) * spread - spread * 0.15
            faces = torch.randint(v, (f, 3), dtype=torch.int32, device=device)
            drawn = ops.rasterize(vertices, faces, h, w)
            name = f"rasterize {f} triangles {(n, h, w)} {dtype}"
            yield name, list(drawn), list(reference.rasterize(vertices, faces, h, w))
            for channels in (1, 3, 7):
                inputs = [drawn[1].requires_grad_(), torch.randn(n, v, channels, dtype=dtype, device=device)]
                inputs[1].requires_grad_()
                grad = torch.randn(n, h, w, channels, dtype=dtype, device=device)

                def run(
                    op: Callable[..., Tensor],
                    inputs: list = inputs,
                    grad: Tensor = grad,
                    triangle: Tensor = drawn[0],
                    faces: Tensor = faces,
                ) -> list[Tensor]:
                    image = op(triangle, inputs[0], faces, inputs[1])
                    return [image, *torch.autograd.grad(image, inputs, grad)]

                name = f"interpolate {(n, h, w, channels)} {dtype}"
                yield name, run(ops.interpolate), run(reference.interpolate)


def penalties(few: bool, device: str) -> Iterator[tuple[str, list[Tensor], list[Tensor]]]:
    k = penalty_kernels
    for shape in [(2, 3, 5, 7)] if few else [(1, 1, 1, 1), (2, 3, 5, 7), (3, 6, 16, 16), (2, 6, 70, 67)]:
        for dtype in TOLERANCE:
            real, fake = torch.randn(2, *shape, device=device).to(dtype)
            alpha = torch.rand(shape[0], device=device, dtype=torch.promote_types(dtype, torch.float32))
            mixed = k.penalty_interpolate(real, fake, alpha)
            yield (
                f"penalty kernels {shape} {dtype}",
                [mixed, *k.penalty_cotangent(mixed, 1.0)],
                [k.penalty_interpolate_reference(real, fake, alpha), *k.penalty_cotangent_reference(mixed, 1.0)],
            )
            rectified = [real.clone(), fake.clone()]
            slopes = k.penalty_rectify_(rectified[0], 0.2)
            k.penalty_slope_(rectified[1], slopes, 0.2)
            expected = nn.functional.leaky_relu(real, 0.2), torch.where(real > 0, fake, 0.2 * fake)
            yield f"penalty slopes {shape} {dtype}", rectified, list(expected)
    critic = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.01), nn.Flatten(), nn.Linear(8 * 8 * 8, 1))
    critic = critic.to(device, torch.float64)
    real, fake = torch.randn(2, 4, 3, 16, 16, dtype=torch.float64, device=device)
    alpha = torch.rand(4, dtype=torch.float64, device=device)

    def run(op: Callable[..., Tensor]) -> list[Tensor]:
        value = op(critic, real, fake, alpha=alpha)
        parameters = list(critic.parameters())
        critic.zero_grad()
        value.backward()
        return [value, *(torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters)]

    yield "gradient_penalty", run(ops.gradient_penalty), run(reference.gradient_penalty)


def farthest(mine: Iterable[Tensor], expected: Iterable[Tensor]) -> float:
    """The largest difference, relative to each tensor's scale and its dtype's tolerance; above 1 is wrong."""
    worst = 0.0
    for a, b in zip(mine, expected, strict=True):
        tolerance = TOLERANCE.get(a.dtype, 1e-9)
        a, b = a.detach().double().nan_to_num(posinf=1e3), b.detach().double().nan_to_num(posinf=1e3)
        scale = max(1.0, float(b.abs().amax())) if b.numel() else 1.0
        worst = max(worst, float((a - b).abs().amax()) / scale / tolerance if a.numel() else 0.0)
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--few", action="store_true", help="a case or two of each")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    wrong = count = 0
    for make in (norms, heatmaps, rasters, penalties):
        for name, mine, expected in make(options.few, options.device):
            count += 1
            if (distance := farthest(mine, expected)) > 1:
                wrong += 1
                print(f"{name}: {distance:.1f} times the tolerance from the reference")
    print(f"{count} cases, {wrong} of them wrong")
    raise SystemExit(wrong > 0)


if __name__ == "__main__":
    main()

"""Gaussian heatmaps at landmarks (paper 5.3)."""

import math
from typing import Any

import torch
from torch import Tensor

from lssl.ops._library import (
    below_autograd,
    check_devices,
    in_dtype,
    native_available,
    recorded,
    transformed,
    use_native,
)

REDUCTIONS = ("none", "sum", "max")


def landmark_heatmap(
    landmarks: Tensor,
    height: int,
    width: int,
    sigma: float | Tensor,
    *,
    visible: Tensor | None = None,
    reduction: str = "none",
) -> Tensor:
    """Draws visible * exp(-((x - lx)^2 + (y - ly)^2) / (2 sigma^2)) for each landmark (lx, ly).

    Args:
        landmarks: (N, K, 2) x (right), y (down) in pixels, pixel centres at integer coordinates; any floating dtype
            (bfloat16 and float16 are computed in float32, but locate a landmark only to their own resolution).
        height, width: size of the maps in pixels.
        sigma: standard deviation in pixels, a positive number or a (K,) tensor.
        visible: (N, K), zero or False where a landmark draws nothing (its coordinates may be NaN there); default: all.
        reduction: "none", "sum" or "max" over the landmarks.

    Returns:
        (N, K, H, W), or (N, 1, H, W) if reduced, in the dtype of landmarks. Differentiable in landmarks and in a tensor
        sigma, to any order; of equal maxima the landmark of lowest index gets the gradient. Deterministic.

    Raises:
        ValueError: wrong shape, dtype, device, sigma or reduction. RuntimeError: a visible landmark is not finite, or
            a (K,) sigma is not positive. On CUDA, where checking would mean waiting for the device, nothing is raised:
            a visible landmark that is not finite gives NaN wherever it would draw, which a loss does not overlook.
    """
    compiling = torch.compiler.is_compiling()
    if compiling:
        _check(landmarks, height, width, sigma, visible, reduction)
    try:  # torch.jit.script ends here: use torch.export.export (see `lssl export`)
        if (torch.onnx.is_in_onnx_export() if compiling else transformed()) or not use_native(landmarks):
            _check(landmarks, height, width, sigma, visible, reduction)
            return landmark_heatmap_reference(landmarks, height, width, sigma, visible=visible, reduction=reduction)
        if visible is not None and visible.dtype is not torch.bool:
            visible = visible.bool()
        sigmas, number = (sigma, 0.0) if isinstance(sigma, Tensor) else (None, float(sigma))
        if sigmas is not None:
            sigmas = in_dtype(sigmas, torch.promote_types(landmarks.dtype, torch.float32))
        inputs = (landmarks, sigmas, number, visible, height, width, REDUCTIONS.index(reduction))
        if compiling:
            return torch.ops.lssl.landmark_heatmap(*inputs)
        if recorded(landmarks, sigmas):
            return _Recorded.apply(*inputs)
        return below_autograd(_operator, *inputs)
    except (RuntimeError, TypeError, AttributeError, ValueError):
        _check(landmarks, height, width, sigma, visible, reduction)  # the operator checks too; this names the argument
        raise


def _check(
    landmarks: Tensor, height: int, width: int, sigma: float | Tensor, visible: Tensor | None, reduction: str
) -> None:
    for name, value in (("landmarks", landmarks), ("visible", visible)):
        if not isinstance(value, Tensor) and (value is not None or name == "landmarks"):
            raise TypeError(f"landmark_heatmap: {name} must be a tensor, got {type(value).__name__}")
    if landmarks.ndim != 3 or landmarks.shape[2] != 2:
        raise ValueError(f"landmark_heatmap: landmarks must be (N, K, 2), got {tuple(landmarks.shape)}")
    if not landmarks.is_floating_point():
        raise ValueError(f"landmark_heatmap: landmarks must be floating point, got {landmarks.dtype}")
    for name, size in (("height", height), ("width", width)):
        if size < 1:
            raise ValueError(f"landmark_heatmap: {name} must be positive, got {size}")
    if isinstance(sigma, Tensor):
        if sigma.shape != (landmarks.shape[1],) or not sigma.is_floating_point():
            raise ValueError(
                "landmark_heatmap: sigma must be a number or a floating point tensor of shape "
                f"{(landmarks.shape[1],)}, got {tuple(sigma.shape)} {sigma.dtype}"
            )
        if sigma.device != landmarks.device:
            raise ValueError(f"landmark_heatmap: sigma must be on {landmarks.device}, got {sigma.device}")
    elif not (sigma > 0 and sigma < math.inf):
        raise ValueError(f"landmark_heatmap: sigma must be positive and finite, got {sigma}")
    if visible is not None:
        if visible.shape != landmarks.shape[:2]:
            raise ValueError(
                f"landmark_heatmap: visible must be {tuple(landmarks.shape[:2])}, got {tuple(visible.shape)}"
            )
        if visible.device != landmarks.device:
            raise ValueError(f"landmark_heatmap: visible must be on {landmarks.device}, got {visible.device}")
    if reduction not in REDUCTIONS:
        raise ValueError(f"landmark_heatmap: reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")


if native_available():

    @torch.library.register_fake("lssl::landmark_heatmap")
    def _(
        landmarks: Tensor,
        sigmas: Tensor | None,
        sigma: float,
        visible: Tensor | None,
        height: int,
        width: int,
        reduction: int,
    ) -> Tensor:
        check_devices("landmark_heatmap", landmarks, sigma=sigmas, visible=visible)
        return landmarks.new_empty((landmarks.shape[0], 1 if reduction else landmarks.shape[1], height, width))

    @torch.library.register_fake("lssl::landmark_heatmap_backward")
    def _(
        grad: Tensor,
        landmarks: Tensor,
        sigmas: Tensor | None,
        sigma: float,
        visible: Tensor | None,
        reduction: int,
    ) -> tuple[Tensor, Tensor]:
        dtype = torch.promote_types(landmarks.dtype, torch.float32)
        return torch.empty_like(landmarks, memory_format=torch.contiguous_format), landmarks.new_empty(
            landmarks.shape[:2], dtype=dtype
        )

    _operator = torch.ops.lssl.landmark_heatmap.default
    _backward_operator = torch.ops.lssl.landmark_heatmap_backward.default

    def _setup(ctx: Any, inputs: tuple, output: Tensor) -> None:
        landmarks, sigmas, ctx.sigma, visible, _, _, ctx.reduction = inputs
        ctx.save_for_backward(landmarks, sigmas, visible)

    def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        landmarks, sigmas, visible = ctx.saved_tensors
        inputs = (grad, landmarks, sigmas, ctx.sigma, visible, ctx.reduction)
        if torch.compiler.is_compiling() or recorded(grad, landmarks, sigmas):
            to_landmarks, to_sigmas = torch.ops.lssl.landmark_heatmap_backward(*inputs)
        else:
            to_landmarks, to_sigmas = below_autograd(_backward_operator, *inputs)
        return to_landmarks, to_sigmas.sum(0) if sigmas is not None else None, None, None, None, None, None

    def _backward_setup(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        grad, landmarks, sigmas, ctx.sigma, visible, ctx.reduction = inputs
        ctx.save_for_backward(grad, landmarks, sigmas, visible)

    def _backward_backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        grad, landmarks, sigmas, visible = ctx.saved_tensors
        create_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            # Views, so that this derivative stops here but a third one can go on past them.
            grad, landmarks = grad.view_as(grad), landmarks.view_as(landmarks)
            sigmas = None if sigmas is None else sigmas.view_as(sigmas)
            outputs = gradients(grad, landmarks, sigmas, ctx.sigma, visible, ctx.reduction)
            inputs = (grad, landmarks, sigmas)
            wanted = [t for t in inputs if t is not None and t.requires_grad]
            found = iter(torch.autograd.grad(outputs, wanted, cotangents, create_graph=create_graph))
        of_inputs = [next(found) if t is not None and t.requires_grad else None for t in inputs]
        return *of_inputs, None, None, None

    class _Recorded(torch.autograd.Function):
        """What `register_autograd` gives the operator, called directly, in a fraction of its dispatch's time."""

        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Tensor:
            output = below_autograd(_operator, *inputs)
            _setup(ctx, inputs, output)
            return output

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
            return _backward(ctx, grad)

    torch.library.register_autograd("lssl::landmark_heatmap", _backward, setup_context=_setup)
    torch.library.register_autograd(
        "lssl::landmark_heatmap_backward", _backward_backward, setup_context=_backward_setup
    )


def _profiles(
    landmarks: Tensor, sigma: Tensor, visible: Tensor | None, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """t = (x - lx) / sigma and exp(-t^2 / 2) along x (N, K, W) and along y (N, K, H): tx, gx, ty, gy.

    The clamps only bite where the Gaussian has long been zero, and keep 1e38 and its gradient from overflowing.
    """
    if visible is not None:
        landmarks = torch.where(visible[..., None], landmarks, 0.0)
    landmarks = landmarks.clamp(-1e9, 1e9)
    found = []
    for axis, size in enumerate((width, height)):
        positions = torch.arange(size, dtype=landmarks.dtype, device=landmarks.device)
        t = ((positions - landmarks[..., axis, None]) / sigma[..., None]).clamp(-100, 100)
        g = torch.exp(-t.square() / 2)
        if visible is not None:
            g = torch.where(visible[..., None], g, 0.0)
        found += [t, g]
    tx, gx, ty, gy = found
    return tx, gx, ty, gy


def gradients(
    grad: Tensor, landmarks: Tensor, sigmas: Tensor | None, sigma: float, visible: Tensor | None, reduction: int
) -> tuple[Tensor, Tensor]:
    """The gradients in landmarks (N, K, 2) and in each map's sigma (N, K) as differentiable PyTorch operations.

    With p = grad gx gy: d/dlx = sum p tx / sigma, d/dly = sum p ty / sigma, d/dsigma = sum p (tx^2 + ty^2) / sigma.
    """
    dtype = torch.promote_types(landmarks.dtype, torch.float32)
    s = landmarks.new_full((1,), sigma, dtype=dtype) if sigmas is None else sigmas
    tx, gx, ty, gy = _profiles(landmarks.to(dtype), s, visible, *grad.shape[2:])
    grad = grad.to(dtype)
    if REDUCTIONS[reduction] == "max":
        owner = (gy[..., None] * gx[..., None, :]).detach().argmax(1, keepdim=True)
        index = torch.arange(landmarks.shape[1], device=grad.device)[:, None, None]
        grad = torch.where(owner == index, grad, 0.0)
    rows = grad @ torch.stack([gx, gx * tx, gx * tx.square()], -1)  # (N, K, H, 3)
    p0, p1, p2 = rows.unbind(-1)
    to_x = (p1 * gy).sum(-1) / s
    to_y = (p0 * gy * ty).sum(-1) / s
    to_sigma = ((p2 + p0 * ty.square()) * gy).sum(-1) / s
    return torch.stack([to_x, to_y], -1).to(landmarks.dtype), to_sigma


def landmark_heatmap_reference(
    landmarks: Tensor,
    height: int,
    width: int,
    sigma: float | Tensor,
    *,
    visible: Tensor | None = None,
    reduction: str = "none",
) -> Tensor:
    """The op's specification in eager PyTorch, as the formula reads: one exponential per pixel."""
    dtype = torch.promote_types(landmarks.dtype, torch.float32)
    shown = None if visible is None else visible.bool()
    points = landmarks.to(dtype)
    if not points.is_cuda and not torch.compiler.is_compiling():
        finite = points.isfinite().all(-1)
        if not bool((finite if shown is None else finite | ~shown).all()):
            raise RuntimeError("landmark_heatmap: landmarks are not finite; mark such a landmark not visible")
    if shown is not None:
        points = torch.where(shown[..., None], points, 0.0)
    points = points.clamp(-1e9, 1e9)  # 1e38 squared would overflow
    x = torch.arange(width, dtype=dtype, device=landmarks.device)
    y = torch.arange(height, dtype=dtype, device=landmarks.device)
    lx, ly = points[..., 0, None, None], points[..., 1, None, None]
    s = torch.as_tensor(sigma, dtype=dtype, device=landmarks.device).reshape(-1, 1, 1)
    if not s.is_cuda and not torch.compiler.is_compiling() and not bool(((s > 0) & s.isfinite()).all()):
        raise RuntimeError("landmark_heatmap: sigma must be positive and finite")
    heatmap = torch.exp(-(((x - lx) / s) ** 2 + ((y[:, None] - ly) / s) ** 2) / 2)
    if shown is not None:
        heatmap = torch.where(shown[..., None, None], heatmap, 0.0)
    if reduction == "sum" or (reduction == "max" and landmarks.shape[1] == 0):
        heatmap = heatmap.sum(1, keepdim=True)
    elif reduction == "max":
        heatmap = heatmap.gather(1, heatmap.detach().argmax(1, keepdim=True))  # the first of equal maxima
    return heatmap.to(landmarks.dtype)

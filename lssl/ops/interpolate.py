"""Attribute interpolation at the pixels of a rasterised mesh."""

from typing import Any

import torch
from torch import Tensor

from lssl.ops._library import (
    below_autograd,
    check_devices,
    in_dtype,
    native_available,
    recorded,
    refuse_symbols,
    transformed,
    use_native,
)
from lssl.ops.rasterize import check_indices, check_mesh


def interpolate(triangle: Tensor, barycentric: Tensor, faces: Tensor, attributes: Tensor) -> Tensor:
    """Interpolates vertex attributes at the pixels that `rasterize` found.

    Args:
        triangle: (N, H, W) int32 face index; a pixel whose index is outside [0, F) is empty.
        barycentric: (N, H, W, 3) weights of the face's three corners.
        faces: (F, 3) int32 vertex indices.
        attributes: (N, V, C) floating point.

    Returns:
        (N, H, W, C) in the dtype of attributes, 0 where empty. float64 attributes are computed in float64, others in
        float32. Differentiable to any order in attributes and barycentric. Deterministic: sums run in pixel order.

    Raises:
        ValueError: wrong shape, dtype or device. RuntimeError: a face index outside [0, V) (on CUDA, where checking
            would mean waiting for the device, such a corner counts as 0).
    """
    compiling = torch.compiler.is_compiling()
    if compiling:
        _check(triangle, barycentric, faces, attributes)
    try:  # torch.jit.script ends here: use torch.export.export (see `lssl export`)
        refuse_symbols(attributes.device)
        dtype = torch.float64 if attributes.dtype is torch.float64 else torch.float32
        inputs = (triangle, in_dtype(barycentric, dtype), faces, in_dtype(attributes, dtype))
        if (torch.onnx.is_in_onnx_export() if compiling else transformed()) or not use_native(attributes):
            _check(triangle, barycentric, faces, attributes)
            output = interpolate_reference(*inputs)
        elif compiling:
            output = torch.ops.lssl.interpolate(*inputs)
        elif recorded(inputs[1], inputs[3]):
            output = _Recorded.apply(*inputs)
        else:
            output = below_autograd(_operator, *inputs)
        return output if output.dtype is attributes.dtype else output.to(attributes.dtype)
    except (RuntimeError, TypeError, AttributeError):
        _check(triangle, barycentric, faces, attributes)  # the operator checks too; this names the argument
        raise


def _check(triangle: Tensor, barycentric: Tensor, faces: Tensor, attributes: Tensor) -> None:
    check_mesh("interpolate", "attributes", attributes, faces)
    if triangle.ndim != 3 or triangle.dtype != torch.int32:
        raise ValueError(f"interpolate: triangle must be (N, H, W) int32, got {tuple(triangle.shape)} {triangle.dtype}")
    if barycentric.shape != (*triangle.shape, 3) or not barycentric.is_floating_point():
        raise ValueError(
            f"interpolate: barycentric must be floating point {(*triangle.shape, 3)}, "
            f"got {tuple(barycentric.shape)} {barycentric.dtype}"
        )
    if attributes.shape[0] != triangle.shape[0]:
        raise ValueError(
            f"interpolate: attributes must have triangle's batch size {triangle.shape[0]}, got {attributes.shape[0]}"
        )
    for name, tensor in (("triangle", triangle), ("barycentric", barycentric)):
        if tensor.device != attributes.device:
            raise ValueError(f"interpolate: {name} must be on {attributes.device}, got {tensor.device}")


if native_available():
    # I(w, a), its gradient A(g, w) in a and B(g, a) in w are multilinear: the gradients of each are the other two.

    @torch.library.register_fake("lssl::interpolate")
    def _(triangle: Tensor, barycentric: Tensor, faces: Tensor, attributes: Tensor) -> Tensor:
        check_devices("interpolate", attributes, triangle=triangle, barycentric=barycentric, faces=faces)
        return attributes.new_empty((*triangle.shape, attributes.shape[2]))

    @torch.library.register_fake("lssl::interpolate_attributes_backward")
    def _(grad: Tensor, triangle: Tensor, barycentric: Tensor, faces: Tensor, vertices: int) -> Tensor:
        return grad.new_empty((triangle.shape[0], vertices, grad.shape[3]))

    @torch.library.register_fake("lssl::interpolate_barycentric_backward")
    def _(grad: Tensor, triangle: Tensor, faces: Tensor, attributes: Tensor) -> Tensor:
        return grad.new_empty((*triangle.shape, 3))

    _operator = torch.ops.lssl.interpolate.default
    _forward = torch.ops.lssl.interpolate
    _attributes_backward = torch.ops.lssl.interpolate_attributes_backward
    _barycentric_backward = torch.ops.lssl.interpolate_barycentric_backward

    def _interpolate_setup(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    def _interpolate_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        triangle, barycentric, faces, attributes = ctx.saved_tensors
        _, need_barycentric, _, need_attributes = ctx.needs_input_grad
        return (
            None,
            _barycentric_backward(grad, triangle, faces, attributes) if need_barycentric else None,
            None,
            _attributes_backward(grad, triangle, barycentric, faces, attributes.shape[1]) if need_attributes else None,
        )

    def _attributes_backward_setup(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:4])

    def _attributes_backward_backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        grad, triangle, barycentric, faces = ctx.saved_tensors
        need_grad, _, need_barycentric = ctx.needs_input_grad[:3]
        return (
            _forward(triangle, barycentric, faces, cotangent) if need_grad else None,
            None,
            _barycentric_backward(grad, triangle, faces, cotangent) if need_barycentric else None,
            None,
            None,
        )

    def _barycentric_backward_backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        grad, triangle, faces, attributes = ctx.saved_tensors
        need_grad, _, _, need_attributes = ctx.needs_input_grad
        vertices = attributes.shape[1]
        return (
            _forward(triangle, cotangent, faces, attributes) if need_grad else None,
            None,
            None,
            _attributes_backward(grad, triangle, cotangent, faces, vertices) if need_attributes else None,
        )

    class _Recorded(torch.autograd.Function):
        """What `register_autograd` gives the operator, called directly, in a fraction of its dispatch's time."""

        @staticmethod
        def forward(ctx: Any, *inputs: Tensor) -> Tensor:
            ctx.save_for_backward(*inputs)
            return below_autograd(_operator, *inputs)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
            return _interpolate_backward(ctx, grad)

    torch.library.register_autograd("lssl::interpolate", _interpolate_backward, setup_context=_interpolate_setup)
    torch.library.register_autograd(
        "lssl::interpolate_attributes_backward",
        _attributes_backward_backward,
        setup_context=_attributes_backward_setup,
    )
    torch.library.register_autograd(
        "lssl::interpolate_barycentric_backward",
        _barycentric_backward_backward,
        setup_context=_interpolate_setup,
    )


def interpolate_reference(triangle: Tensor, barycentric: Tensor, faces: Tensor, attributes: Tensor) -> Tensor:
    """The op's specification in eager PyTorch."""
    n, height, width = triangle.shape
    if not triangle.is_cuda and not torch.compiler.is_compiling():
        check_indices("interpolate", faces, attributes.shape[1])
    if faces.shape[0] == 0:
        connected = attributes.flatten()[:0].sum() + barycentric.flatten()[:0].sum()  # to the inputs' graphs
        return attributes.new_zeros((n, height, width, attributes.shape[2])) + connected
    covered = (triangle >= 0) & (triangle < faces.shape[0])
    corners = faces.long()[torch.where(covered, triangle, 0).long()].reshape(n, height * width * 3, 1)
    # Not by indexing, whose gradient on the CPU depends on the number of threads.
    values = attributes.gather(1, corners.expand(-1, -1, attributes.shape[2])).reshape(
        n, height, width, 3, attributes.shape[2]
    )
    output = (values * barycentric[..., None].to(attributes.dtype)).sum(-2)
    return torch.where(covered[..., None], output, 0.0)

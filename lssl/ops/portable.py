"""Decompositions of lssl's operators into PyTorch's own, for exported programs.

    program = torch.export.export(network, inputs).run_decompositions(portable_operators())

The program then runs, and can be converted to ONNX, where lssl is not installed. Without the native library an exported
program has none of lssl's operators, and the table is empty. Forward passes only; `rasterize` has no decomposition.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lssl.ops._library import native_available
from lssl.ops.interpolate import interpolate_reference
from lssl.ops.landmark_heatmap import REDUCTIONS, landmark_heatmap_reference
from lssl.ops.pixel_shuffle_instance_norm import pixel_shuffle_instance_norm_reference


def portable_operators() -> dict[Any, Callable[..., Any]]:
    """Maps each operator to its decomposition, as `torch.export.ExportedProgram.run_decompositions` takes them."""
    if not native_available():
        return {}
    ours = torch.ops.lssl
    return {
        ours.pixel_shuffle_instance_norm.default: _pixel_shuffle_instance_norm,
        ours.landmark_heatmap.default: _landmark_heatmap,
        ours.interpolate.default: interpolate_reference,
    }


def _pixel_shuffle_instance_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, upscale_factor: int, eps: float, negative_slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    activation = {1.0: "none", 0.0: "relu"}.get(negative_slope, "leaky_relu")
    output = pixel_shuffle_instance_norm_reference(input, weight, bias, upscale_factor, eps, activation, negative_slope)
    n, depth = input.shape[:2]
    planes = input.float().reshape(n, depth // upscale_factor**2, -1)
    variance, mean = torch.var_mean(planes, 2, correction=0)
    return output, mean, torch.rsqrt(variance + eps)  # the last two are for the backward pass, and dropped


def _landmark_heatmap(
    landmarks: Tensor,
    sigmas: Tensor | None,
    sigma: float,
    visible: Tensor | None,
    height: int,
    width: int,
    reduction: int,
) -> Tensor:
    # A number would become a constant of the program, which a decomposition cannot add.
    chosen = landmarks.new_full((1,), sigma) if sigmas is None else sigmas
    return landmark_heatmap_reference(
        landmarks, height, width, chosen, visible=visible, reduction=REDUCTIONS[reduction]
    )

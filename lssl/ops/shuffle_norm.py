"""Pixel shuffle + instance norm + affine + activation (paper 4.1, the decoder's sub-pixel step)."""

import torch
from torch import Tensor
from torch.nn import functional as F


def pixel_shuffle_instance_norm_reference(
    input: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    upscale_factor: int = 2,
    eps: float = 1e-5,
    activation: str = "none",
    negative_slope: float = 0.01,
) -> Tensor:
    """The op's specification in eager PyTorch."""
    shuffled = F.pixel_shuffle(input, upscale_factor)
    statistics = shuffled.to(torch.promote_types(shuffled.dtype, torch.float32))
    variance, mean = torch.var_mean(statistics, dim=(2, 3), correction=0, keepdim=True)
    output = (statistics - mean) * torch.rsqrt(variance + eps)
    if weight is not None:
        output = output * weight[:, None, None]
    if bias is not None:
        output = output + bias[:, None, None]
    if activation == "relu":
        output = output.relu()
    elif activation == "leaky_relu":
        output = F.leaky_relu(output, negative_slope)
    return output.to(input.dtype)


pixel_shuffle_instance_norm = pixel_shuffle_instance_norm_reference

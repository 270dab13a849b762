"""Gaussian heatmaps at landmarks (paper 5.3)."""

import torch
from torch import Tensor


def landmark_heatmap_reference(
    landmarks: Tensor,
    height: int,
    width: int,
    sigma: float | Tensor,
    *,
    visible: Tensor | None = None,
    reduction: str = "none",
) -> Tensor:
    """The op's specification in eager PyTorch."""
    x = torch.arange(width, dtype=landmarks.dtype, device=landmarks.device)
    y = torch.arange(height, dtype=landmarks.dtype, device=landmarks.device)
    lx, ly = landmarks[..., 0, None, None], landmarks[..., 1, None, None]
    sigma = torch.as_tensor(sigma, dtype=landmarks.dtype, device=landmarks.device).reshape(-1, 1, 1)
    heatmap = torch.exp(-((x - lx) ** 2 + (y[:, None] - ly) ** 2) / (2 * sigma**2))
    if visible is not None:
        heatmap = torch.where(visible.bool()[..., None, None], heatmap, 0.0)
    if reduction == "sum":
        return heatmap.sum(1, keepdim=True)
    if reduction == "max":
        return heatmap.amax(1, keepdim=True)
    return heatmap


landmark_heatmap = landmark_heatmap_reference

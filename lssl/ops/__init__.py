"""Native PyTorch operators: CPU (C++) and CUDA, each beside its eager reference."""

from lssl.ops import reference
from lssl.ops._library import build_info
from lssl.ops.critic_step import features_and_penalty
from lssl.ops.heatmap import landmark_heatmap
from lssl.ops.penalty import gradient_penalty
from lssl.ops.raster import interpolate, rasterize
from lssl.ops.shuffle_norm import PixelShuffleInstanceNorm, pixel_shuffle_instance_norm

__all__ = [
    "PixelShuffleInstanceNorm",
    "build_info",
    "features_and_penalty",
    "gradient_penalty",
    "interpolate",
    "landmark_heatmap",
    "pixel_shuffle_instance_norm",
    "rasterize",
    "reference",
]

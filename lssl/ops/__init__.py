"""Native PyTorch operators: CPU (C++) and CUDA, each next to its eager reference.

Each file has the name of its operator's folder in csrc/ and of its function, `lssl.ops.NAME`.
"""

from lssl.ops import reference
from lssl.ops._library import build_info
from lssl.ops.gradient_penalty import features_and_penalty, gradient_penalty, r1_penalty
from lssl.ops.interpolate import interpolate
from lssl.ops.landmark_heatmap import landmark_heatmap
from lssl.ops.memory import keep_freed_memory
from lssl.ops.pixel_shuffle_instance_norm import PixelShuffleInstanceNorm, pixel_shuffle_instance_norm
from lssl.ops.rasterize import rasterize

__all__ = [
    "PixelShuffleInstanceNorm",
    "build_info",
    "features_and_penalty",
    "gradient_penalty",
    "interpolate",
    "keep_freed_memory",
    "landmark_heatmap",
    "pixel_shuffle_instance_norm",
    "r1_penalty",
    "rasterize",
    "reference",
]

"""The eager PyTorch references under the public names: the specification, the oracle, the fallback."""

from lssl.ops.gradient_penalty import gradient_penalty_reference as gradient_penalty
from lssl.ops.interpolate import interpolate_reference as interpolate
from lssl.ops.landmark_heatmap import landmark_heatmap_reference as landmark_heatmap
from lssl.ops.pixel_shuffle_instance_norm import pixel_shuffle_instance_norm_reference as pixel_shuffle_instance_norm
from lssl.ops.rasterize import rasterize_reference as rasterize

__all__ = ["gradient_penalty", "interpolate", "landmark_heatmap", "pixel_shuffle_instance_norm", "rasterize"]

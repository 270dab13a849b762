"""The eager PyTorch references under the public names: the specification, the oracle, the fallback."""

from lssl.ops.heatmap import landmark_heatmap_reference as landmark_heatmap
from lssl.ops.penalty import gradient_penalty_reference as gradient_penalty
from lssl.ops.raster import interpolate_reference as interpolate
from lssl.ops.raster import rasterize_reference as rasterize
from lssl.ops.shuffle_norm import pixel_shuffle_instance_norm_reference as pixel_shuffle_instance_norm

__all__ = ["gradient_penalty", "interpolate", "landmark_heatmap", "pixel_shuffle_instance_norm", "rasterize"]

"""The 3D face: bilinear model, camera, rendering, importers, labelled faces."""

from lssl.face3d.bilinear import EXPRESSIONS, BilinearFaceModel
from lssl.face3d.camera import Camera
from lssl.face3d.topology import FaceTopology, Part

__all__ = ["EXPRESSIONS", "BilinearFaceModel", "Camera", "FaceTopology", "Part"]

"""The 3D face: bilinear model, camera, rendering, fitting, frontal faces, importers, labelled faces."""

from lssl.face3d.bilinear import EXPRESSIONS, BilinearFaceModel
from lssl.face3d.camera import Camera
from lssl.face3d.fitting import fit_landmarks
from lssl.face3d.frontal import render_frontal
from lssl.face3d.generate import FaceGenerator, GenerateConfig
from lssl.face3d.generated import GeneratedFaces
from lssl.face3d.topology import FaceTopology, Part

__all__ = [
    "EXPRESSIONS",
    "BilinearFaceModel",
    "Camera",
    "FaceGenerator",
    "FaceTopology",
    "GenerateConfig",
    "GeneratedFaces",
    "Part",
    "fit_landmarks",
    "render_frontal",
]

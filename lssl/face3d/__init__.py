"""The 3D face: bilinear model, camera, rendering, fitting, frontal faces, importers, labelled faces."""

from lssl.face3d.fitting.fit import fit_landmarks
from lssl.face3d.frontal.draw import render_frontal
from lssl.face3d.generate import FaceGenerator, GenerateConfig
from lssl.face3d.model.bilinear import EXPRESSIONS, BilinearFaceModel
from lssl.face3d.model.topology import FaceTopology, Part
from lssl.face3d.scene.camera import Camera

__all__ = [
    "EXPRESSIONS",
    "BilinearFaceModel",
    "Camera",
    "FaceGenerator",
    "FaceTopology",
    "GenerateConfig",
    "Part",
    "fit_landmarks",
    "render_frontal",
]

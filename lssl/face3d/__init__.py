"""The 3D face: bilinear model, camera, rendering, fitting, frontal faces, importers, labelled faces."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lssl.face3d.fitting.fit import fit_landmarks as fit_landmarks
    from lssl.face3d.frontal.draw import render_frontal as render_frontal
    from lssl.face3d.generate import FaceGenerator as FaceGenerator
    from lssl.face3d.generate import GenerateConfig as GenerateConfig
    from lssl.face3d.model.bilinear import EXPRESSIONS as EXPRESSIONS
    from lssl.face3d.model.bilinear import BilinearFaceModel as BilinearFaceModel
    from lssl.face3d.model.topology import FaceTopology as FaceTopology
    from lssl.face3d.model.topology import Part as Part
    from lssl.face3d.scene.camera import Camera as Camera

#: Public names and the modules they are imported from on first use, so that editing does not wait for frontal drawing.
_PUBLIC = {
    "EXPRESSIONS": "lssl.face3d.model.bilinear",
    "BilinearFaceModel": "lssl.face3d.model.bilinear",
    "Camera": "lssl.face3d.scene.camera",
    "FaceGenerator": "lssl.face3d.generate",
    "FaceTopology": "lssl.face3d.model.topology",
    "GenerateConfig": "lssl.face3d.generate",
    "Part": "lssl.face3d.model.topology",
    "fit_landmarks": "lssl.face3d.fitting.fit",
    "render_frontal": "lssl.face3d.frontal.draw",
}
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


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'lssl.face3d' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})

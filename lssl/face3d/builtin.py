"""Face models by name: the built-in ones, or a file."""

from collections.abc import Callable
from pathlib import Path

from lssl.data.fingerprint import file_fingerprint
from lssl.errors import LsslError
from lssl.face3d.embedded import cache_key, load_embedded_model
from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.face3d.model.reduced_ict import PATH, load_ict_model

BUILTIN: dict[str, Callable[[], BilinearFaceModel]] = {"embedded": load_embedded_model, "ict": load_ict_model}


def load_face_model(name: str | Path) -> BilinearFaceModel:
    """A built-in model (`embedded`, `ict`) by its name, else the file of that name.

    Raises LsslError naming the file and the built-in models.
    """
    if str(name) in BUILTIN:
        return BUILTIN[str(name)]()
    if not Path(name).exists():
        raise LsslError(f"{name}: neither a file nor a built-in face model ({', '.join(BUILTIN)})")
    return BilinearFaceModel.load(name)


def model_stamp(name: str | Path, model: BilinearFaceModel) -> str:
    """A name that changes with the model's content, recorded in what is made with it. Raises OSError without a file."""
    if str(name) == "embedded":
        return f"embedded {cache_key()}"
    if str(name) == "ict":
        return f"{model.name} {file_fingerprint(PATH)}"
    return f"{model.name} {file_fingerprint(name)}"

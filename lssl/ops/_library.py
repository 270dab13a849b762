"""Loads the native operator library once, and says why where it cannot."""

import importlib
import os
import warnings
from pathlib import Path
from typing import Any

import torch

_FIX = "reinstall with `pip install --no-build-isolation .` where torch, ninja and a C++20 compiler are installed"


def _load() -> tuple[dict[str, Any], str | None]:
    """Returns (how the library was built, None) or ({}, why it is not there)."""
    if os.environ.get("LSSL_NATIVE") == "0":
        return {}, "LSSL_NATIVE=0 turns it off"
    folder = Path(__file__).parent.parent
    try:
        module = importlib.import_module("lssl._C")
    except ImportError as error:
        note = folder / "_build_failure.txt"
        if note.exists():
            return {}, f"its build failed: {note.read_text().strip()}"
        return {}, f"lssl._C cannot be imported ({error})"
    libraries = sorted(folder.glob("_ops*.so"))
    if not libraries:
        return {}, f"no _ops*.so in {folder}"
    try:
        module.load(str(libraries[0]))
    except RuntimeError as error:
        return {}, str(error)
    return dict(module.build_info()), None


_info, _missing = _load()
_warned = False


def native_available(device: torch.device | None = None) -> bool:
    """True where the native operators serve tensors on `device` (default: the CPU)."""
    if _missing is not None:
        return False
    if device is None or device.type == "cpu":
        return True
    return device.type == "cuda" and bool(_info["cuda"])


def use_native(*tensors: torch.Tensor) -> bool:
    """Decides native or reference for one call on `tensors`; warns once a process on the first reference call."""
    device = tensors[0].device
    if native_available(device):
        return True
    if not torch.compiler.is_compiling():
        _warn(device)
    return False


def _warn(device: torch.device) -> None:
    global _warned
    if _warned:
        return
    _warned = True
    why = _missing or f"the native operators were built without support for {device.type} tensors"
    warnings.warn(
        f"lssl.ops runs on its slower PyTorch references: {why}. To fix: {_FIX}.", RuntimeWarning, stacklevel=4
    )


def build_info() -> dict[str, Any]:
    """How the native operators were built.

    Returns a dict: `native` (bool), `reason` (why not, or None), `torch` (version in use), and, where native,
    `compiler`, `simd` (level in use on this machine), `cuda` (bool), `cuda_architectures`.
    """
    return {"native": _missing is None, "reason": _missing, "torch": torch.__version__, **_info}

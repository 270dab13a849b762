"""Loads the native operator library once; if it cannot, says why."""

import ctypes
import importlib
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.fx.proxy import TraceError

_FIX = "reinstall with `pip install --no-build-isolation .` where torch, ninja and a C++20 compiler are installed"


def _load() -> tuple[dict[str, Any], str | None]:
    """Returns (how the library was built, None) or ({}, why it is missing)."""
    if os.environ.get("LSSL_NATIVE") == "0":
        return {}, "LSSL_NATIVE=0 turns it off"
    folder = Path(__file__).parent.parent
    # LSSL_LIBRARY: another build of the operators, such as the one by `make cuda-on-host`.
    library = Path(os.environ.get("LSSL_LIBRARY") or folder / "_ops.so").absolute()
    if not library.exists():
        note = folder / "_build_failure.txt"
        if note.exists():
            return {}, f"its build failed: {note.read_text().strip()}"
        return {}, f"there is no {library}"
    try:
        _loader()(str(library))
        tell = ctypes.CDLL(str(library)).lssl_build_info
    except (OSError, RuntimeError) as error:
        return {}, str(error.__cause__ or error)
    except AttributeError:
        return {}, f"{library} is from another version of lssl"
    tell.restype = ctypes.c_char_p
    return json.loads(tell()), None


def _loader() -> Callable[[str], None]:
    """The function that loads a library of operators: from a source build's _C, or torch's own in a wheel."""
    try:
        return importlib.import_module("lssl._C").load
    except ImportError:
        return torch.ops.load_library


_info, _missing = _load()
_warned = False


def native_available(device: torch.device | None = None) -> bool:
    """True if the native operators run on `device` (default: the CPU)."""
    if _missing is not None:
        return False
    if device is None or device.type == "cpu":
        return True
    return device.type == "cuda" and bool(_info["cuda"])


def refuse_symbols(device: object) -> None:
    """Raises TraceError if `device` belongs to a proxy, which torch.fx passes in place of a tensor."""
    if type(device) is not torch.device:
        raise TraceError("torch.fx.symbolic_trace passes no tensors; use torch.export.export (see `lssl export`)")


def use_native(*tensors: torch.Tensor) -> bool:
    """True if a call on `tensors` runs natively; warns once per process, at the first call that does not."""
    device = tensors[0].device
    refuse_symbols(device)
    if native_available(device):
        return True
    if not torch.compiler.is_compiling():
        _warn(device)
    return False


def recorded(*tensors: torch.Tensor | None) -> bool:
    """True if autograd must record a call on these tensors."""
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def transformed() -> bool:
    """True under torch.func's transforms (grad, jacrev, vmap, jvp) and for dual numbers, where the references run."""
    return forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active()


def in_dtype(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """`tensor.to(dtype)` for floating-point tensors; TypeError for others, which the caller cannot have meant."""
    if tensor.dtype is dtype:
        return tensor
    if not tensor.is_floating_point():
        raise TypeError(f"not floating point: {tensor.dtype}")
    return tensor.to(dtype)


def check_devices(operator: str, like: torch.Tensor, **tensors: torch.Tensor | None) -> None:
    """Raises ValueError if devices differ. For the fakes: one meta tensor among others takes a call to the fake, past
    the kernel's own checks."""
    for name, tensor in tensors.items():
        if tensor is not None and tensor.device != like.device:
            raise ValueError(f"{operator}: {name} must be on {like.device}, got {tensor.device}")


def below_autograd(operator: Callable[..., Any], *arguments: Any) -> Any:
    """Calls an operator without autograd's part of the dispatch, which costs more than a small kernel.

    For calls that nothing records, or that an `autograd.Function` records.
    """
    with torch._C._AutoDispatchBelowAutograd():
        return operator(*arguments)


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

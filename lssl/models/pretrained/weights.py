"""Published weights from local files; nothing is ever downloaded, and no code in a file is run."""

from pathlib import Path

import torch
from torch import Tensor

from lssl.errors import LsslError


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file or of a `.pth`/`.pt` state dict, on the CPU, by name.

    A state dict may be under `state_dict` or `model`, and its names may begin with `module.`. Raises FileNotFoundError,
    or LsslError naming a file that holds no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of weights")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(str(path))
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state = state.get("state_dict", state.get("model", state))
        tensors = {key.removeprefix("module."): value for key, value in state.items() if isinstance(value, Tensor)}
    except Exception as error:
        raise LsslError(f"{path}: not a file of weights (.safetensors, or a .pth state dict): {error}") from None
    if not tensors:
        raise LsslError(f"{path}: holds no tensors")
    return tensors


def fill(model: torch.nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Copies weights into `model` by name; names that it does not have are left out.

    Raises LsslError, naming `source`, if a tensor is missing or has another shape.
    """
    own = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    kind = type(model).__name__
    if missing := [key for key in own if key not in weights]:
        raise LsslError(f"{source} does not hold a {kind}: {len(missing)} parameters are missing ({missing[0]}, ...)")
    for key, value in own.items():
        if weights[key].shape != value.shape:
            raise LsslError(f"{source}: {key} is {tuple(weights[key].shape)}, {kind} has {tuple(value.shape)}")
    model.load_state_dict({key: weights[key] for key in own}, strict=False)

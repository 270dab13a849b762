"""Where a program computes: the one place that chooses a device."""

from typing import TYPE_CHECKING

from lssl.errors import LsslError

if TYPE_CHECKING:
    import torch


def choose_device(name: str | None = None) -> "torch.device":
    """The device that a user names: "cpu", "cuda" or "cuda:1"; None takes a GPU if there is one.

    Raises LsslError for any other name, and for a GPU that this machine does not have.
    """
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise LsslError(f"--device {name}: expected cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise LsslError(f"--device {name}: expected cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise LsslError(f"--device {name}: PyTorch sees {count or 'no'} GPU{'s' * (count > 1)} here; see `lssl doctor`")
    return device

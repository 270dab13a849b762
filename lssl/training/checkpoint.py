"""Checkpoints: complete, atomic, and read without running any code from the file.

A checkpoint is one `.pt` file of tensors, numbers and text. It is written under a temporary name, synced and renamed, so
that the newest file under its final name is complete whatever happens.
"""

import contextlib
import os
import re
from pathlib import Path
from typing import Any

import torch

from lssl.errors import LsslError

_NAME = re.compile(r"iteration_(\d+)\.pt")
FORMAT = 2


def save_checkpoint(folder: Path, iteration: int, state: dict[str, Any], keep: int) -> Path:
    """Writes `folder/iteration_NNNNNNNN.pt` and then removes all but the newest `keep`.

    Raises LsslError if the disk is full or not writable; the earlier checkpoints stay as they are.
    """
    path = folder / f"iteration_{iteration:08d}.pt"
    temporary = folder / f".{path.name}.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".*.tmp"):
            left.unlink()
        with temporary.open("wb") as file:
            torch.save({"format": FORMAT, "iteration": iteration, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(folder)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        last = latest_checkpoint(folder)
        kept = f"the last good checkpoint is {last}" if last else "there is no earlier checkpoint"
        then = "--resume" if last else "repeat the command (there is nothing to --resume yet)"
        raise LsslError(
            f"{path}: cannot write the checkpoint ({error}); {kept}. Free some space, then {then}"
        ) from error
    for old in checkpoints(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Reads tensors, numbers and text only. Raises LsslError for a file that holds anything else or cannot be read."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise LsslError(f"{path}: no such checkpoint") from None
    except Exception as error:  # a damaged file makes PyTorch's reader raise almost anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LsslError(f"{path}: not a readable checkpoint ({reason})") from None
    if not isinstance(state, dict) or not isinstance(state.get("format"), int):
        raise LsslError(f"{path}: a PyTorch file, but not a checkpoint that `lssl train` wrote")
    if state["format"] != FORMAT:
        raise LsslError(
            f"{path}: a checkpoint in layout {state['format']}, which another version of lssl wrote (this one writes "
            f"{FORMAT}): resume with that version"
        )
    return state


def load_newest(
    folder: Path, device: torch.device | str = "cpu"
) -> tuple[Path, dict[str, Any], list[tuple[Path, LsslError]]]:
    """The newest readable checkpoint of a folder, its state, and any newer ones that cannot be read, each with the reason.

    Raises LsslError if none can be read.
    """
    torn: list[tuple[Path, LsslError]] = []
    for path in reversed(checkpoints(folder)):
        try:
            return path, load_checkpoint(path, device), torn
        except LsslError as error:
            torn.append((path, error))
    if torn:
        raise LsslError(f"{torn[0][1]}, and neither is any before it; begin again in another --out")
    raise LsslError(f"{folder}: no checkpoint to resume from; repeat the command without --resume")


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints of a folder, oldest first."""
    return sorted(path for path in folder.glob("iteration_*.pt") if _NAME.fullmatch(path.name))


def latest_checkpoint(folder: Path) -> Path | None:
    found = checkpoints(folder)
    return found[-1] if found else None


def load_weights(module: torch.nn.Module, state: dict[str, Any], path: Path, what: str) -> None:
    """`load_state_dict` with a readable error. Raises LsslError naming a tensor in which the architectures differ."""
    own = module.state_dict()
    for name in own.keys() | state.keys():
        if name not in own or name not in state:
            side = "not in the file" if name in own else "in the file only"
            raise LsslError(f"{path} holds a {what} of another architecture: '{name}' is {side}")
        if own[name].shape != state[name].shape:
            raise LsslError(
                f"{path} holds a {what} of another architecture: '{name}' is {tuple(state[name].shape)} there, "
                f"{tuple(own[name].shape)} here; train with the settings of its run folder's config.toml"
            )
    module.load_state_dict(state)


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself durable, where the system can open folders (POSIX)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

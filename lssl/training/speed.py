"""The speed settings of a run that depend on the machine."""

from dataclasses import replace

import torch

from lssl.training.config import Switch, TrainConfig


def resolve_speed(config: TrainConfig, device: torch.device) -> TrainConfig:
    """The settings with every "auto" of `speed` replaced by what is best on this device."""
    speed = config.speed
    on_gpu = device.type == "cuda"
    return replace(
        config,
        speed=replace(
            speed,
            bf16=_decided(speed.bf16, _computes_bf16(device)),
            channels_last=_decided(speed.channels_last, on_gpu),
            graph=_decided(speed.graph, on_gpu) if on_gpu else "off",
        ),
    )


def apply_speed(config: TrainConfig, device: torch.device) -> None:
    """Sets up PyTorch for the process: threads and determinism; on a GPU also TF32 and the choice of convolutions."""
    if config.speed.threads:
        torch.set_num_threads(config.speed.threads)
    torch.use_deterministic_algorithms(config.speed.deterministic, warn_only=True)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = config.speed.tf32
        torch.backends.cudnn.allow_tf32 = config.speed.tf32
        torch.backends.cudnn.benchmark = not config.speed.deterministic


def autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    """The precision of generator and parser: a context to create for each use."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.speed.bf16 == "on")


def _decided(switch: Switch, automatic: bool) -> Switch:
    if switch != "auto":
        return switch
    return "on" if automatic else "off"


def _computes_bf16(device: torch.device) -> bool:
    """Whether the chip multiplies bfloat16 in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())

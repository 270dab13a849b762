"""All random numbers of a run come from (seed, number, purpose); nothing else in training makes a generator."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def generator(seed: int, number: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose at one step (or epoch) of a run; equal arguments give equal random numbers."""
    digest = hashlib.blake2b(f"{seed} {number} {purpose}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)


@contextmanager
def initial_weights(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Networks built in this context start from the weights of this seed; the caller's random state stays as it was.

    device: where networks with dropout are also trained in this context.
    """
    with torch.random.fork_rng(devices=[device] if device is not None and device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield

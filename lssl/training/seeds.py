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
def initial_weights(seed: int) -> Iterator[None]:
    """Networks built in this context start from the weights of this seed; the caller's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield

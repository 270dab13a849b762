"""All chance of a run comes from (seed, number, purpose); nothing else in training makes a generator."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def generator(seed: int, number: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose at one step (or epoch) of the run with this seed; equal arguments, equal numbers."""
    digest = hashlib.blake2b(f"{seed} {number} {purpose}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)


@contextmanager
def initial_weights(seed: int) -> Iterator[None]:
    """Networks built inside start from the weights of this seed; the caller's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield

"""All chance of a run comes from (seed, number, purpose); nothing else in training makes a generator."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# purpose: (how many share the numbers, which one it is)
_PLACES = {"order": (2, 0), "flip": (2, 1), "normalizing": (4, 1), "history": (4, 2), "targets": (4, 3)}


def generator(seed: int, number: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose at one step (or epoch) of the run with this seed; equal arguments, equal numbers."""
    count, place = _PLACES[purpose]
    return torch.Generator().manual_seed(((seed * 1_000_003 + number) * count + place) % 2**63)


@contextmanager
def initial_weights(seed: int) -> Iterator[None]:
    """Networks built inside start from the weights of this seed; the caller's random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield

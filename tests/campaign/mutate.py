"""Damages files at random, for the fuzzer. All randomness comes from a seed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

NUMBERS = (b"0", b"-1", b"nan", b"inf", b"1e999", b"99999999999", b"-0", b"", b"0x10", "\u0663".encode())
TEXTS = (
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\0",
    b"\r",
    b"\n\n\n",
    b'"',
    b",",
    b";",
    b"{",
    b"}",
    b"../../x",
    b"\x1b[2J",
    b"\xe9",
)


def mutated(data: bytes, seed: int) -> bytes:
    """A damaged copy: up to four times, bytes are cut, flipped, repeated, inserted or swapped, or a number replaced."""
    chance = np.random.default_rng(seed)
    result = bytearray(data)
    for _ in range(int(chance.integers(1, 5))):
        _CHANGES[int(chance.integers(len(_CHANGES)))](result, chance)
    return bytes(result)


def _place(data: bytearray, chance: np.random.Generator) -> int:
    """A random position; half of the time within the first 200 bytes, where the header is."""
    limit = len(data) if chance.random() < 0.5 else min(200, len(data))
    return int(chance.integers(limit + 1))


def _cut(data: bytearray, chance: np.random.Generator) -> None:
    del data[_place(data, chance) :]


def _remove(data: bytearray, chance: np.random.Generator) -> None:
    start = _place(data, chance)
    del data[start : start + int(chance.integers(1, 40))]


def _flip(data: bytearray, chance: np.random.Generator) -> None:
    for _ in range(int(chance.integers(1, 12))):
        if data:
            data[_place(data, chance) % len(data)] ^= 1 << int(chance.integers(8))


def _noise(data: bytearray, chance: np.random.Generator) -> None:
    start = _place(data, chance)
    data[start : start + 16] = chance.bytes(int(chance.integers(1, 17)))


def _largest(data: bytearray, chance: np.random.Generator) -> None:
    start = _place(data, chance)
    data[start : start + 4] = b"\xff" * 4


def _repeat(data: bytearray, chance: np.random.Generator) -> None:
    start = _place(data, chance)
    piece = bytes(data[start : start + int(chance.integers(1, 200))])
    data[start:start] = piece * int(chance.integers(1, 30))


def _insert(data: bytearray, chance: np.random.Generator) -> None:
    start = _place(data, chance)
    data[start:start] = TEXTS[int(chance.integers(len(TEXTS)))]


def _number(data: bytearray, chance: np.random.Generator) -> None:
    digits = [k for k, byte in enumerate(data[:5000]) if chr(byte).isdigit()]
    if digits:
        start = digits[int(chance.integers(len(digits)))]
        data[start : start + int(chance.integers(1, 4))] = NUMBERS[int(chance.integers(len(NUMBERS)))]


def _swap(data: bytearray, chance: np.random.Generator) -> None:
    first, second = sorted((_place(data, chance), _place(data, chance)))
    data[:] = data[second:] + data[first:second] + data[:first]


_CHANGES: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (
    _cut, _remove, _flip, _flip, _noise, _largest, _repeat, _insert, _number, _number, _swap,
)  # fmt: skip


def keep(corpus: Path, name: str, data: bytes) -> Path:
    """Keeps an input on which a reader failed, for the next run to begin with."""
    corpus.mkdir(parents=True, exist_ok=True)
    path = corpus / name
    path.write_bytes(data)
    return path

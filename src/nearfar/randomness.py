"""Randomness that is keyed, not drawn: numbers are a function of (seed, stream, draw, view), in whatever order asked.

Philox4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011.
"""

import zlib
from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

_ROUNDS = 10
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)

_F = TypeVar("_F", bound=Callable[..., object])


def _untraced(function: _F) -> _F:
    """Keep torch.compile out: traced, 64-bit words would become arithmetic that its backends lack."""
    return cast(_F, torch.compiler.disable(function))  # type: ignore[no-untyped-call]


def philox(counter: NDArray[np.uint64], key: tuple[int, int]) -> NDArray[np.uint64]:
    """Four 32-bit words for each counter: `[n, 4]` words in, `[n, 4]` words out."""
    c0, c1, c2, c3 = (counter[:, i].astype(np.uint64) for i in range(4))
    k0, k1 = np.uint64(key[0] & 0xFFFFFFFF), np.uint64(key[1] & 0xFFFFFFFF)
    for _ in range(_ROUNDS):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (p1 >> _32) ^ c1 ^ k0, p1 & _LOW, (p0 >> _32) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return np.stack([c0, c1, c2, c3], axis=1)


@_untraced
def uniform(seed: int, stream: str, draws: NDArray[np.int64], count: int, view: int = 0) -> NDArray[np.float32]:
    """Numbers in [0, 1), `[b, count]`: row i belongs to `draws[i]` alone, not to its place in the batch.

    `stream` names what the numbers are for, so that two uses never share them; `view` is the view's number.
    """
    blocks = -(-count // 4)
    b = len(draws)
    counter = np.empty((b, blocks, 4), dtype=np.uint64)
    wide = np.asarray(draws, dtype=np.int64).astype(np.uint64)
    counter[..., 0] = np.arange(blocks, dtype=np.uint64)
    counter[..., 1] = (wide & _LOW)[:, None]
    counter[..., 2] = (wide >> _32)[:, None]
    counter[..., 3] = np.uint64(view)
    words = philox(counter.reshape(-1, 4), _key(seed, stream)).reshape(b, blocks * 4)[:, :count]
    # 24 bits are all that a float32 below one can hold evenly.
    return ((words >> np.uint64(8)).astype(np.float32)) * np.float32(2**-24)


@_untraced
def seed_of(seed: int, stream: str, *numbers: int) -> int:
    """One 63-bit seed for (seed, stream, numbers): for generators that are not ours (torch, scikit-learn)."""
    key = _key(seed, stream)
    words = philox(np.array([[len(numbers), 0, 0, 0]], dtype=np.uint64), key)
    for number in numbers:
        words[0, 0] ^= np.uint64(number & 0xFFFFFFFF)
        words[0, 1] ^= np.uint64(number >> 32 & 0xFFFFFFFF)
        words = philox(words, key)
    return int(words[0, 0] << np.uint64(31) ^ words[0, 1])


def permutation(seed: int, stream: str, number: int, size: int) -> NDArray[np.int64]:
    """A shuffled `arange(size)`, a function of (seed, stream, number)."""
    return np.random.Generator(np.random.PCG64(seed_of(seed, stream, number))).permutation(size)


def _key(seed: int, stream: str) -> tuple[int, int]:
    return seed & 0xFFFFFFFF, zlib.crc32(stream.encode()) ^ (seed >> 32 & 0xFFFFFFFF)

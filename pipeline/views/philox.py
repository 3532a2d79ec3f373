"""The counter-based generator Philox4x64-10, for many keys at once.

"Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011). The numbers are those of
``numpy.random.Philox``, which takes ten microseconds to set up for a key: for a batch of 512 images
that is longer than a training step on a GPU.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_INCREMENTS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS = 10
_HALF, _LOW = np.uint64(32), np.uint64(2**32 - 1)

Words = NDArray[np.uint64]


def uniform_numbers(
    first_key: int, second_keys: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """Random numbers in [0, 1), float64 [n, count].

    Row i is ``Generator(Philox(key=[first_key, second_keys[i]])).random(count)``.

    Args:
        first_key: First word of all keys, 0 to 2**64 - 1.
        second_keys: Second word of the key of each row, int64 [n], not negative.
        count: Numbers per row.
    """
    blocks = -(-count // 4)
    counters = np.arange(1, blocks + 1, dtype=np.uint64)  # NumPy increments before it generates
    a = np.tile(counters, (len(second_keys), 1))
    b, c, d = (np.zeros_like(a) for _ in range(3))
    second = second_keys.astype(np.uint64)[:, None]
    for number in range(_ROUNDS):
        keys = [np.uint64(number * increment % 2**64) for increment in _INCREMENTS]
        high_a, low_a = _multiply(_MULTIPLIERS[0], a)
        high_c, low_c = _multiply(_MULTIPLIERS[1], c)
        first = np.uint64((first_key + int(keys[0])) % 2**64)
        a, b, c, d = high_c ^ b ^ first, low_c, high_a ^ d ^ (second + keys[1]), low_a
    words = np.stack([a, b, c, d], axis=-1).reshape(len(a), 4 * blocks)[:, :count]
    numbers: NDArray[np.float64] = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return numbers


def _multiply(factor: int, words: Words) -> tuple[Words, Words]:
    """High and low words of the products with a constant, which have 128 bits."""
    high, low = np.uint64(factor >> 32), np.uint64(factor & int(_LOW))
    upper, lower = words >> _HALF, words & _LOW
    middle = high * lower + (low * lower >> _HALF)
    carried = low * upper + (middle & _LOW)
    return high * upper + (middle >> _HALF) + (carried >> _HALF), words * np.uint64(factor)

"""Random numbers that depend on who and when, never on what was drawn before.

A stream is keyed by seed, names and block (a calendar month), so that any month of any meter can be drawn alone and is
the same whatever else is generated. Slow processes join at the edges of the months.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from datetime import date
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
EPOCH_YEAR = 1970


def stream(seed: int, *names: object, block: int = 0) -> np.random.Generator:
    """Return the generator of `names` in `block`; equal arguments give equal numbers on every machine."""
    digest = blake2b("\x1f".join(map(str, (seed, *names))).encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype="<u8")
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, 0, block], dtype=np.uint64)))


def block_of(day: date) -> int:
    """Return the month block of a day: months since January 1970."""
    return (day.year - EPOCH_YEAR) * 12 + day.month - 1


def first_day_of(block: int) -> date:
    """Return the first day of a month block."""
    return date(EPOCH_YEAR + block // 12, block % 12 + 1, 1)


def days_in(block: int) -> int:
    """Return the number of days of a month block."""
    first = first_day_of(block)
    return monthrange(first.year, first.month)[1]


def hour_of(day: date) -> int:
    """Return hours since 1970-01-01 00:00 at the start of a day, on whichever clock the day is."""
    return (day - date(EPOCH_YEAR, 1, 1)).days * 24


def month_noise(seed: int, names: Sequence[str], *, kind: str, block: int, size: int, states: int) -> tuple[Array, ...]:
    """Return `(noise, here, there)` of shapes (names, size), (names, states), (names, states), standard normal.

    `here` are the values of slow processes at the start of the month, `there` those at the start of the next.
    """
    noise = np.empty((len(names), size), dtype=np.float32)
    edges = np.empty((2, len(names), states), dtype=np.float32)
    for row, name in enumerate(names):
        generator = stream(seed, name, kind, block=block)
        edges[0, row] = generator.standard_normal(states, dtype=np.float32)
        generator.standard_normal(out=noise[row], dtype=np.float32)
        edges[1, row] = stream(seed, name, kind, block=block + 1).standard_normal(states, dtype=np.float32)
    return noise, edges[0], edges[1]


def correlated(noise: Array, *, coefficient: float, here: Array, there: Array) -> Array:
    """Return AR(1) series of unit variance along the last axis that start at `here` and lead to `there`.

    The end is bent towards the next month's first value with the weight that the process itself would give it, so
    that months drawn alone join without a step.
    """
    from scipy.signal import lfilter

    innovation = np.sqrt(1.0 - coefficient**2)
    series, last = lfilter(
        np.array([innovation], noise.dtype),
        np.array([1.0, -coefficient], noise.dtype),
        noise,
        axis=-1,
        zi=(coefficient * here)[..., None].astype(noise.dtype),
    )
    remaining = np.arange(noise.shape[-1], 0, -1)
    bend = (there[..., None] - last) * (coefficient**remaining).astype(noise.dtype)
    joined: Array = series + bend
    return joined


def between(here: Array, there: Array, *, size: int) -> Array:
    """Return straight lines from `here` to `there` over `size` steps: slow drift, drawn once a month."""
    share = (np.arange(size, dtype=np.float32) / size)[None, :]
    return here[:, None] * (1 - share) + there[:, None] * share

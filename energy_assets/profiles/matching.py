"""Names that stay: clusters of a new fit take the numbers of the clusters before them that they are most like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from energy_assets.profiles.vectors import Floats

NEAR = 0.35
"""Farther from each other than this, two shapes are not the same cluster: a cosine of 0.94 at unit length."""


@dataclass(frozen=True, kw_only=True)
class Named:
    """The number of each new cluster, and whether it was carried over from the fit before."""

    numbers: tuple[int, ...]
    is_matched: tuple[bool, ...]


def match(centroids: Floats, *, before: Floats, numbers_before: Sequence[int], used: Sequence[int]) -> Named:
    """Return numbers for new centroids [cluster, dimension] by the assignment of least total distance.

    `before` are the centroids of the fit before with their numbers, `used` all numbers that were ever given: a new
    cluster gets one that none had. Pairs farther apart than NEAR are no match.
    """
    from scipy.optimize import linear_sum_assignment

    numbers: dict[int, int] = {}
    if len(before):
        distance = np.sqrt(((centroids[:, None, :] - before[None, :, :]) ** 2).sum(axis=2))
        # A pair that is too far costs the same whichever it is, so it never displaces one that is near.
        rows, columns = linear_sum_assignment(np.minimum(distance, NEAR * 2))
        numbers = {
            int(row): numbers_before[int(column)]
            for row, column in zip(rows, columns, strict=True)
            if distance[row, column] <= NEAR
        }
    free = max([0, *used, *numbers_before])
    given = []
    for row in range(len(centroids)):
        if row not in numbers:
            free += 1
        given.append(numbers.get(row, free))
    return Named(numbers=tuple(given), is_matched=tuple(row in numbers for row in range(len(centroids))))

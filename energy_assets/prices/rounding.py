"""Whole numbers shared in proportion without losing a unit: largest remainders, ties to the earlier member."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


def share_exactly(totals: Integers, *, weights: Integers) -> Integers:
    """Return each row's total shared in proportion to its weights; every row sums to its total exactly.

    Args:
        totals: (rows,); a negative total is shared like its opposite.
        weights: (rows, members), not negative. A row without weight must have the total 0.

    Totals and weights of any size are exact: products are taken as Python integers where 64 bits would not do.
    """
    sums = weights.sum(axis=1)
    if np.any((sums == 0) & (totals != 0)):
        raise ValueError("a total cannot be shared among members without weight")
    busy = np.flatnonzero(totals)
    shares = np.zeros(weights.shape, dtype=np.int64)
    if busy.size:
        shares[busy] = _shares(totals[busy], weights=weights[busy], sums=sums[busy])
    return shares


def _shares(totals: Integers, *, weights: Integers, sums: Integers) -> Integers:
    safe = np.where(sums == 0, 1, sums)
    sign, totals = np.sign(totals), np.abs(totals)
    if totals.size and weights.size and int(totals.max()) * int(weights.max()) >= 2**63:
        wide = totals.astype(object)[:, None] * weights.astype(object)
        floors, remainders = np.asarray(wide // safe[:, None]), np.asarray(wide % safe[:, None])
        floors, remainders = floors.astype(np.int64), remainders.astype(np.int64)
    else:
        floors, remainders = np.divmod(totals[:, None] * weights, safe[:, None])
    left = totals - floors.sum(axis=1)
    order = np.argsort(-remainders, axis=1, kind="stable")
    extra = np.zeros_like(floors)
    members = np.broadcast_to(np.arange(weights.shape[1]), weights.shape)
    np.put_along_axis(extra, order, (members < left[:, None]).astype(np.int64), axis=1)
    return np.asarray((floors + extra) * sign[:, None], dtype=np.int64)

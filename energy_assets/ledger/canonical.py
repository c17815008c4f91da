"""Canonical JSON (RFC 8785) of what the ledger keeps: objects, arrays, strings, booleans, null and whole numbers.

Fractions are refused, because two programs need not print one alike; quantities enter as integers of a stated unit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from energy_assets.errors import LedgerError

LARGEST_INTEGER = 2**53 - 1  # past it JSON readers of other languages lose digits

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False)


def canonical_json(document: Mapping[str, object]) -> bytes:
    """Return the one byte string that stands for a document.

    Raises:
        LedgerError: it holds a fraction, an integer past 2**53 - 1, or a string that is not Unicode.
    """
    try:
        return _ENCODER.encode(_ordered(document)).encode("utf-8")
    except UnicodeEncodeError as error:
        raise LedgerError(f"A ledger entry holds text that is not Unicode: {error}. Mend the text.") from error


def _ordered(value: object) -> object:
    kind = type(value)
    if kind is int:
        if not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:  # type: ignore[operator]
            raise LedgerError(f"A ledger entry holds {value}, past 2**53 - 1; give it as text or in a larger unit.")
        return value
    if kind is str or kind is bool or value is None:
        return value
    if isinstance(value, list | tuple):
        return [_ordered(item) for item in value]
    if isinstance(value, Mapping):
        if not all(type(key) is str for key in value):
            raise LedgerError("A ledger entry has a key that is not text; JSON knows text keys only.")
        return {key: _ordered(value[key]) for key in sorted(value, key=_utf16)}
    raise LedgerError(f"A ledger entry holds {value!r} of type {kind.__name__}; give whole numbers and text.")


def _utf16(key: str) -> bytes:
    """Return the sort key of RFC 8785, 3.2.3: UTF-16 code units."""
    return key.encode("utf-16-be", "surrogatepass")

"""Household bills in a public ledger without publishing them: salted commitments under one root per period.

A household that is given its statement, salt and path can prove its bill to anybody; nobody else can guess it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from energy_assets.errors import LedgerError
from energy_assets.ledger.canonical import canonical_json
from energy_assets.ledger.merkle import inclusion_holds, inclusion_proof, leaf_hash, subtrees_of, tree_root

SALT_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What a household needs to prove its bill: statement, salt, place and path under the root."""

    statement: Mapping[str, object]
    salt: bytes
    index: int
    size: int
    proof: tuple[bytes, ...]

    def holds(self, *, root: bytes) -> bool:
        """Judge whether the statement is under a period's root."""
        leaf = leaf_hash(_committed(self.statement, salt=self.salt))
        return inclusion_holds(leaf=leaf, index=self.index, size=self.size, root=root, proof=self.proof)


def statement_salt(secret: bytes, *, statement: Mapping[str, object]) -> bytes:
    """Return the salt of a statement: a keyed hash, so that a period can be committed again alike.

    Raises:
        LedgerError: the secret is shorter than 32 bytes.
    """
    if len(secret) < SALT_BYTES:
        raise LedgerError(f"The secret of the salts has {len(secret)} bytes; use {SALT_BYTES} random ones.")
    return hmac.digest(secret, canonical_json(statement), hashlib.sha256)


def commit_statements(statements: Sequence[Mapping[str, object]], *, secret: bytes) -> tuple[bytes, list[Opening]]:
    """Return the root over salted commitments of statements, in their order, and each one's opening."""
    salts = [statement_salt(secret, statement=statement) for statement in statements]
    pairs = list(zip(statements, salts, strict=True))
    leaves = [leaf_hash(_committed(statement, salt=salt)) for statement, salt in pairs]
    read = subtrees_of(leaves)
    openings = [
        Opening(
            statement=statement,
            salt=salt,
            index=index,
            size=len(leaves),
            proof=tuple(inclusion_proof(read, index=index, size=len(leaves))),
        )
        for index, (statement, salt) in enumerate(pairs)
    ]
    return tree_root(leaves), openings


def _committed(statement: Mapping[str, object], *, salt: bytes) -> bytes:
    return salt + canonical_json(statement)

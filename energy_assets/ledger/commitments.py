"""Household bills in a public ledger without publishing them: salted commitments under one root per period.

A household that is given its statement, salt and path can prove its bill to anybody; nobody else can guess it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from energy_assets.errors import LedgerError
from energy_assets.ledger.canonical import canonical_json
from energy_assets.ledger.merkle import inclusion_holds, inclusion_proof, leaf_hash, subtrees_of, tree_root

SALT_BYTES = 32
OPENING_HEADER = "energy_assets/statement-opening@v1"

Statement = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What a household needs to prove its bill: statement, salt, place and path under the root."""

    statement: Statement
    salt: bytes
    index: int
    size: int
    proof: tuple[bytes, ...]

    def holds(self, *, root: bytes) -> bool:
        """Judge whether the statement is under a period's root."""
        leaf = leaf_hash(_committed(self.statement, salt=self.salt))
        return inclusion_holds(leaf=leaf, index=self.index, size=self.size, root=root, proof=self.proof)

    @property
    def text(self) -> str:
        """Return the opening as a file: header, salt, place, size, then the path from the leaf upwards in base64."""
        salt, *path = (base64.b64encode(item).decode() for item in (self.salt, *self.proof))
        return "".join(
            f"{line}\n" for line in (OPENING_HEADER, f"salt {salt}", f"index {self.index}", f"size {self.size}", *path)
        )


def statement_salt(secret: bytes, *, statement: Statement) -> bytes:
    """Return the salt of a statement: a keyed hash, so that a period can be committed again alike.

    Raises:
        LedgerError: the secret is shorter than 32 bytes.
    """
    if len(secret) < SALT_BYTES:
        raise LedgerError(f"The secret of the salts has {len(secret)} bytes; use {SALT_BYTES} random ones.")
    return hmac.digest(secret, canonical_json(statement), hashlib.sha256)


def statements_root(statements: Sequence[Statement], *, secret: bytes) -> bytes:
    """Return the root over the salted commitments of statements, in their order."""
    return tree_root(_leaves(statements, secret=secret))


def open_statement(statements: Sequence[Statement], *, index: int, secret: bytes) -> Opening:
    """Return what proves that the statement at `index` is under the root of all of them."""
    leaves = _leaves(statements, secret=secret)
    return Opening(
        statement=statements[index],
        salt=statement_salt(secret, statement=statements[index]),
        index=index,
        size=len(leaves),
        proof=tuple(inclusion_proof(subtrees_of(leaves), index=index, size=len(leaves))),
    )


def _leaves(statements: Sequence[Statement], *, secret: bytes) -> list[bytes]:
    return [
        leaf_hash(_committed(statement, salt=statement_salt(secret, statement=statement))) for statement in statements
    ]


def _committed(statement: Statement, *, salt: bytes) -> bytes:
    return salt + canonical_json(statement)

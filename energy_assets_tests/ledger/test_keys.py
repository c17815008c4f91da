"""Keys on disk."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from energy_assets.errors import LedgerError
from energy_assets.ledger.keys import SIGNING_FILE, generate_keys, load_signer, load_verifier
from energy_assets.ledger.notes import COSIGNATURE, NOTE


@pytest.mark.parametrize("algorithm", [pytest.param(NOTE, id="log"), pytest.param(COSIGNATURE, id="witness")])
def test_keys_are_written_once_and_secret(tmp_path: Path, algorithm: int) -> None:
    made = generate_keys(tmp_path, name="example.org/log", algorithm=algorithm)
    assert load_verifier(tmp_path) == made == load_signer(tmp_path).verifier
    assert stat.S_IMODE((tmp_path / SIGNING_FILE).stat().st_mode) == 0o600
    with pytest.raises(LedgerError, match="keeps its key"):
        generate_keys(tmp_path, name="example.org/log", algorithm=algorithm)


def test_an_absent_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="keygen"):
        load_signer(tmp_path)

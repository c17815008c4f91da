"""Canonical JSON, keys, notes and cosignatures, against vectors of their specifications."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_assets.errors import LedgerError
from energy_assets.ledger import verifier
from energy_assets.ledger.canonical import canonical_json
from energy_assets.ledger.merkle import EMPTY_ROOT
from energy_assets.ledger.notes import COSIGNATURE, Checkpoint, Signer, Verifier, open_checkpoint, split_note


@pytest.mark.parametrize(
    ("document", "text"),
    [
        pytest.param({"b": 2, "a": 1}, '{"a":1,"b":2}', id="order"),
        pytest.param({"a": [True, None, -7, "x"]}, '{"a":[true,null,-7,"x"]}', id="kinds"),
        pytest.param({"a": {"z": 1, "y": 2}}, '{"a":{"y":2,"z":1}}', id="nested"),
        # RFC 8785, 3.2.3: keys in order of UTF-16 code units, so U+1F600 (D83D DE00) comes before U+FB33
        pytest.param(
            {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7},
            '{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\U0001f600":5,"\ufb33":3}',
            id="order of the specification",
        ),
        pytest.param({"a": '\u20ac$\u000f\nA\'B"\\\\"/'}, '{"a":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}', id="escapes"),
    ],
)
def test_canonical_json(document: dict[str, object], text: str) -> None:
    assert canonical_json(document) == text.encode()


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(1.5, id="fraction"),
        pytest.param(2**53, id="too large"),
        pytest.param("\ud800", id="half a character"),
        pytest.param({1: 2}, id="key"),
        pytest.param(b"x", id="bytes"),
    ],
)
def test_what_is_not_canonical_is_refused(value: object) -> None:
    with pytest.raises(LedgerError):
        canonical_json({"a": value})


# RFC 8032, 7.1, test 2
SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def test_both_verifiers_agree_with_the_specification() -> None:
    assert Signer(name="x", algorithm=1, seed=SEED).verifier.public == PUBLIC
    assert Verifier(name="x", algorithm=1, public=PUBLIC).verifies(b"\x72", signature=SIGNATURE)
    assert verifier.ed25519_holds(PUBLIC, b"\x72", SIGNATURE)


@given(place=st.integers(0, 511), message=st.binary(max_size=40))
@settings(max_examples=20, deadline=None)
def test_both_verifiers_refuse_a_flipped_bit(place: int, message: bytes) -> None:
    flipped = bytearray(SIGNATURE)
    flipped[place // 8] ^= 1 << place % 8
    assert not verifier.ed25519_holds(PUBLIC, b"\x72", bytes(flipped))
    assert not Verifier(name="x", algorithm=1, public=PUBLIC).verifies(b"\x72", signature=bytes(flipped))
    if message != b"\x72":
        assert not verifier.ed25519_holds(PUBLIC, message, SIGNATURE)


def test_keys_survive_their_text() -> None:
    signer = Signer.generate("example.org/log")
    assert Signer.from_text(signer.text) == signer
    assert Verifier.from_text(signer.verifier.text) == signer.verifier
    assert signer.text not in repr(signer)
    damaged = signer.verifier.text.replace("example.org", "example.com")
    with pytest.raises(LedgerError, match="has hash"):
        Verifier.from_text(damaged)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n"])
def test_names_that_break_a_note_are_refused(name: str) -> None:
    with pytest.raises(LedgerError, match="cannot name a key"):
        Signer.generate(name)


SIGNER = Signer(name="example.org/log", algorithm=1, seed=SEED)
CHECKPOINT = Checkpoint(origin="example.org/log", size=0, root=EMPTY_ROOT)
NOTE = f"{CHECKPOINT.body}\n{SIGNER.line(CHECKPOINT.body)}"


def test_a_checkpoint_is_what_was_signed() -> None:
    assert open_checkpoint(NOTE, verifier=SIGNER.verifier) == CHECKPOINT
    assert verifier.open_note(NOTE, SIGNER.verifier.text) == (0, EMPTY_ROOT)
    assert split_note(NOTE)[0] == "example.org/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"


@pytest.mark.parametrize(
    "note",
    [
        pytest.param(NOTE.replace("\n0\n", "\n1\n"), id="another size"),
        pytest.param(NOTE.replace("47DE", "47DF"), id="another root"),
        pytest.param(NOTE.replace("log", "lag"), id="another log"),
        pytest.param(CHECKPOINT.body, id="unsigned"),
        pytest.param(
            f"{CHECKPOINT.body}\n{Signer.generate('example.org/log').line(CHECKPOINT.body)}", id="another key"
        ),
        pytest.param(NOTE[:-6] + "\n", id="cut off"),
        pytest.param("", id="empty"),
    ],
)
def test_a_changed_checkpoint_is_refused(note: str) -> None:
    with pytest.raises(LedgerError):
        open_checkpoint(note, verifier=SIGNER.verifier)
    with pytest.raises(verifier.Unsound):
        verifier.open_note(note, SIGNER.verifier.text)


def test_a_cosignature_covers_its_time() -> None:
    witness = Signer.generate("example.org/witness", algorithm=COSIGNATURE)
    when = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp())
    note = NOTE + witness.cosignature_line(CHECKPOINT.body, time_s=when)
    assert open_checkpoint(note, verifier=witness.verifier) == CHECKPOINT
    assert open_checkpoint(note, verifier=SIGNER.verifier) == CHECKPOINT
    assert verifier.open_note(note, SIGNER.verifier.text) == (0, EMPTY_ROOT)
    other = Signer(name=witness.name, algorithm=COSIGNATURE, seed=SEED)
    with pytest.raises(LedgerError, match="not signed"):
        open_checkpoint(note, verifier=other.verifier)

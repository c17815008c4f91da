"""The log on disk: appends, proofs, tampering and the witness."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from energy_assets.errors import LedgerError
from energy_assets.ledger import verifier
from energy_assets.ledger.commitments import open_statement, statements_root
from energy_assets.ledger.entries import price_entry, promotion_entry
from energy_assets.ledger.log import Ledger
from energy_assets.ledger.merkle import leaf_hash, tree_root
from energy_assets.ledger.notes import COSIGNATURE, Signer
from energy_assets.ledger.tiles import tile_path
from energy_assets.ledger.witness import Witness
from energy_assets.prices.zones import ZoneConfig
from energy_assets_tests.ledger.logs import SIGNER, entry, filled
from energy_assets_tests.prices.strategies import curve, net_load

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 513])
def test_a_log_verifies_however_it_was_filled(tmp_path: Path, size: int) -> None:
    ledger = filled(tmp_path / "a", size=size)
    assert ledger.verify().problems == ()
    assert ledger.checkpoint().size == size
    assert verifier.check_log(tmp_path / "a", SIGNER.verifier.text, None).startswith(f"{size} entries hold")
    at_once = filled(tmp_path / "b", size=size, batch=max(size, 1))
    assert at_once.checkpoint() == ledger.checkpoint()
    for index in {0, size // 2, size - 1} & set(range(size)):
        found = verifier.check_proof(ledger.prove(index), SIGNER.verifier.text, ledger.entry(index))
        assert found.startswith(f"the entry is number {index} of {size}")
    assert not list((tmp_path / "a").rglob("*.tmp"))


def test_old_roots_can_be_had(tmp_path: Path) -> None:
    ledger = filled(tmp_path, size=600)
    leaves = [leaf_hash(ledger.entry(i)) for i in range(300)]
    assert ledger.root_at(300) == tree_root(leaves)


def test_an_entry_is_kept_once(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path, signer=SIGNER)
    assert ledger.append([entry(1), entry(2), entry(1)]) == [0, 1, 0]
    before = ledger.checkpoint_text()
    assert ledger.append([entry(2), entry(3), entry(1)]) == [1, 2, 0]
    assert ledger.append([entry(1), entry(2), entry(3)]) == [0, 1, 2]
    assert ledger.checkpoint().size == 3
    assert ledger.checkpoint_text() != before
    assert ledger.find({"type": "price_curve", "zone": "z3", "date": "2026-06-01", "revision": 0}) == 2
    with pytest.raises(LedgerError, match="never changed"):
        ledger.append([entry(9), entry(2, text="cheaper")])
    assert ledger.checkpoint().size == 3
    assert ledger.append([entry(2, revision=1, text="cheaper")]) == [3]


def test_the_index_is_rebuilt_from_the_log(tmp_path: Path) -> None:
    ledger = filled(tmp_path, size=300)
    (tmp_path / "index.sqlite").unlink()
    assert ledger.append([entry(5), entry(300)]) == [5, 300]


def test_a_rolled_back_checkpoint_stops_the_writer(tmp_path: Path) -> None:
    ledger = filled(tmp_path, size=10)
    old = (tmp_path / "checkpoint").read_bytes()
    ledger.append([entry(10)])
    (tmp_path / "checkpoint").write_bytes(old)
    with pytest.raises(LedgerError, match="old checkpoint put back"):
        ledger.append([entry(11)])


def test_nothing_is_signed_over_damaged_tiles(tmp_path: Path) -> None:
    ledger = filled(tmp_path, size=300)
    path = tmp_path / tile_path("0", number=1, width=44)
    raw = bytearray(path.read_bytes())
    raw[100] ^= 1
    path.write_bytes(bytes(raw))
    before = (tmp_path / "checkpoint").read_bytes()
    with pytest.raises(LedgerError, match="nothing was signed"):
        ledger.append([entry(300)])
    assert (tmp_path / "checkpoint").read_bytes() == before


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        pytest.param({"type": "a", "zone": "b", "date": "c"}, "needs type", id="no revision"),
        pytest.param({**entry(1), "revision": "0"}, "needs type", id="revision as text"),
        pytest.param({**entry(1), "zone": "a\nb"}, "one line", id="two lines"),
        pytest.param({**entry(1), "price": 0.1}, "whole numbers", id="fraction"),
        pytest.param(entry(1, text="x" * 65_536), "past 65535", id="too long"),
    ],
)
def test_a_bad_entry_is_refused_whole(tmp_path: Path, bad: dict[str, object], message: str) -> None:
    ledger = Ledger.create(tmp_path, signer=SIGNER)
    with pytest.raises(LedgerError, match=message):
        ledger.append([entry(0), bad])
    assert ledger.checkpoint().size == 0


def test_reading_needs_no_key_and_writing_does(tmp_path: Path) -> None:
    filled(tmp_path, size=3)
    reader = Ledger(tmp_path, verifier=SIGNER.verifier)
    assert reader.verify().is_sound
    with pytest.raises(LedgerError, match="without its signing key"):
        reader.append([entry(3)])
    stranger = Ledger(tmp_path, verifier=Signer.generate("example.org/log").verifier)
    assert "not signed by" in stranger.verify().problems[0]


def test_any_changed_byte_of_the_files_is_found(tmp_path: Path) -> None:
    ledger = filled(tmp_path / "log", size=300)
    chance = random.Random(6)
    files = [
        path for path in (tmp_path / "log").rglob("*") if path.is_file() and path.suffix not in {".sqlite", ".lock"}
    ]
    files = [path for path in files if path.name != ".lock"]
    for _ in range(150):
        path = chance.choice(files)
        raw = path.read_bytes()
        changed = bytearray(raw)
        changed[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(changed))
        assert not ledger.verify().is_sound, path
        with pytest.raises((verifier.Unsound, UnicodeDecodeError)):
            verifier.check_log(tmp_path / "log", SIGNER.verifier.text, None)
        path.write_bytes(raw)
    assert ledger.verify().is_sound


def rewritten(kind: str, *, size: int, chance: random.Random) -> list[dict[str, object]]:
    """Return the entries of a log that its owner has rewritten before `size`."""
    entries = [entry(i) for i in range(size + 20)]
    place, other = chance.sample(range(size), 2)
    if kind == "edit":
        entries[place] = entry(place, text="cheaper")
    elif kind == "delete":
        del entries[place]
    elif kind == "reorder":
        entries[place], entries[other] = entries[other], entries[place]
    elif kind == "insert":
        entries.insert(place, entry(10_000))
    elif kind == "truncate":
        entries = entries[:place]
    else:
        entries = entries[:place] + [entry(i, text="fork") for i in range(place, size + 20)]
    return entries


@pytest.mark.parametrize("kind", ["edit", "delete", "reorder", "insert", "truncate", "fork"])
def test_an_owner_who_rewrites_the_past_is_found_out(tmp_path: Path, kind: str) -> None:
    honest = filled(tmp_path / "honest", size=60)
    witness = Witness(tmp_path / "witness", signer=Signer.generate("example.org/w", algorithm=COSIGNATURE))
    witness.cosign_log(honest, now=NOW)
    trusted, note = honest.checkpoint(), honest.checkpoint_text()
    chance = random.Random(kind)
    for attempt in range(8):
        forged = Ledger.create(tmp_path / f"forged{attempt}", signer=SIGNER)  # with the owner's own key
        forged.append(rewritten(kind, size=60, chance=chance))
        assert forged.verify().is_sound
        assert not forged.verify(trusted=trusted).is_sound
        with pytest.raises(verifier.Unsound, match=r"cut|changed"):
            verifier.check_log(forged.folder, SIGNER.verifier.text, note)
        with pytest.raises(LedgerError, match=r"cut|rewritten"):
            witness.cosign_log(forged, now=NOW)
    honest.append([entry(60)])
    assert honest.verify(trusted=trusted).is_sound
    cosigned = witness.cosign_log(honest, now=NOW)
    assert cosigned.startswith(honest.checkpoint_text())
    seen = witness.last_seen(SIGNER.verifier)
    assert seen is not None
    assert seen.size == 61


def test_a_proof_bears_the_cosignatures_of_its_witnesses(tmp_path: Path) -> None:
    ledger = filled(tmp_path / "log", size=300)
    keys = [Signer.generate(f"example.org/w{i}", algorithm=COSIGNATURE) for i in range(2)]
    for number, key in enumerate(keys):
        witness = Witness(tmp_path / f"w{number}", signer=key)
        ledger.accept(witness.cosign_log(ledger, now=NOW), witness=key.verifier)
    ledger.append([entry(i) for i in range(300, 700)])  # the witnesses have not seen these yet
    witnesses = tuple(key.verifier.text for key in keys)
    for place in (0, 255, 299):
        found = verifier.check_proof(ledger.prove(place), SIGNER.verifier.text, ledger.entry(place), witnesses)
        assert found.startswith(f"the entry is number {place} of 300")
    unseen = ledger.prove(300)
    assert verifier.check_proof(unseen, SIGNER.verifier.text, ledger.entry(300)).startswith("the entry is number 300")
    with pytest.raises(verifier.Unsound, match=r"not cosigned by example\.org/w0"):
        verifier.check_proof(unseen, SIGNER.verifier.text, ledger.entry(300), witnesses)
    stranger = Signer.generate("example.org/w0", algorithm=COSIGNATURE).verifier.text
    with pytest.raises(verifier.Unsound, match="not cosigned"):
        verifier.check_proof(ledger.prove(0), SIGNER.verifier.text, ledger.entry(0), (stranger,))
    assert ledger.verify().is_sound


def test_only_cosigned_checkpoints_of_this_log_are_kept(tmp_path: Path) -> None:
    ledger = filled(tmp_path / "log", size=5)
    key = Signer.generate("example.org/w", algorithm=COSIGNATURE)
    witness = Witness(tmp_path / "w", signer=key)
    plain = ledger.checkpoint_text()
    with pytest.raises(LedgerError, match="not signed by"):
        ledger.accept(plain, witness=key.verifier)
    early = witness.cosign_log(ledger, now=NOW)
    ledger.append([entry(5)])
    ledger.accept(witness.cosign_log(ledger, now=NOW), witness=key.verifier)
    with pytest.raises(LedgerError, match="this one has fewer"):
        ledger.accept(early, witness=key.verifier)
    other = filled(tmp_path / "other", size=7)
    ahead = Witness(tmp_path / "w2", signer=key).cosign_log(other, now=NOW)
    with pytest.raises(LedgerError, match="not of the log as it is"):
        ledger.accept(ahead, witness=key.verifier)


def test_a_household_can_prove_a_bill_that_nobody_can_guess() -> None:
    statements = [{"premise_id": f"p{i}", "total_units": 100 * i, "revision": 0} for i in range(11)]
    root = statements_root(statements, secret=bytes(32))
    openings = [open_statement(statements, index=index, secret=bytes(32)) for index in range(11)]
    assert all(opening.holds(root=root) for opening in openings)
    assert len({opening.salt for opening in openings}) == 11
    assert statements_root(statements, secret=bytes([1]) * 32) != root
    assert not openings[3].holds(root=statements_root(statements, secret=bytes([1]) * 32))
    with pytest.raises(LedgerError, match="random"):
        statements_root(statements, secret=b"short")


def test_prices_and_promotions_enter_in_whole_numbers(tmp_path: Path) -> None:
    zone = ZoneConfig()
    rows = curve(net_load([20.0] * 12 + [40.0] * 12, zone=zone), zone=zone).rows
    ledger = Ledger.create(tmp_path, signer=SIGNER)
    promotion = promotion_entry(
        model_name="load", promoted_at=NOW, version=4, previous=3, how="judged", reason="better",
        artifact_sha256="00",
    )  # fmt: skip
    corrected = rows.with_columns(revision=rows["revision"] + 1)
    assert ledger.append([price_entry(rows), promotion, price_entry(corrected, supersedes=0)]) == [0, 1, 2]
    assert str(rows["price_units"].to_list()).replace(" ", "").encode() in ledger.entry(0)
    assert b'"supersedes":0' in ledger.entry(2)
    assert b'"type":"price_correction"' in ledger.entry(2)


def test_the_verifier_runs_alone(tmp_path: Path) -> None:
    ledger = filled(tmp_path / "log", size=5)
    alone = shutil.copy(verifier.__file__, tmp_path / "verifier.py")
    key = SIGNER.verifier.text
    (tmp_path / "proof").write_text(ledger.prove(2))
    (tmp_path / "entry").write_bytes(ledger.entry(2))
    (tmp_path / "other").write_bytes(ledger.entry(3))

    def run(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-I", "-S", str(alone), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30, cwd=tmp_path)
        return done.returncode, done.stdout

    assert run("log", "log", key)[0] == 0
    assert run("proof", "proof", key, "entry")[0] == 0
    assert run("proof", "proof", key, "other") == (1, "DOES NOT HOLD: the entry is not in the log at that place\n")
    (tmp_path / "log" / tile_path("entries", number=0, width=5)).unlink()
    assert run("log", "log", key)[0] == 1


@pytest.mark.parametrize(
    ("number", "path"),
    [
        pytest.param(0, "tile/0/000", id="first"),
        pytest.param(5, "tile/0/005", id="small"),
        pytest.param(1234067, "tile/0/x001/x234/067", id="the example of tlog-tiles"),
    ],
)
def test_tile_paths(number: int, path: str) -> None:
    assert tile_path("0", number=number) == path
    assert tile_path("0", number=number, width=8) == f"{path}.p/8"

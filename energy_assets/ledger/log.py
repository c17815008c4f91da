"""The log itself: append, checkpoint, prove, verify. One writer at a time; readers need no lock.

An append writes tiles that no checkpoint speaks of yet, proves from the files that the new tree extends the old one,
and only then signs and swaps the checkpoint. Killed anywhere, the log is the old one or the new one.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from energy_assets.errors import LedgerError
from energy_assets.ledger.canonical import canonical_json
from energy_assets.ledger.index import Index, identity_of, identity_of_line
from energy_assets.ledger.merkle import (
    EMPTY_ROOT,
    SubtreeReader,
    consistency_holds,
    consistency_proof,
    inclusion_holds,
    inclusion_proof,
    leaf_hash,
    range_root,
    subtrees_of,
)
from energy_assets.ledger.notes import Checkpoint, Signer, Verifier, open_checkpoint, split_note
from energy_assets.ledger.tiles import LONGEST_ENTRY, TILE_LEVELS, TILE_WIDTH, Step, TileFolder, no_step

PROOF_HEADER = "c2sp.org/tlog-proof@v1"
COSIGNED = "cosigned"
"""The newest checkpoint that witnesses cosigned; the checkpoint itself bears the log's signature alone."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a verification found: the checkpoint, in plain words everything that is wrong, and what the log holds.

    `identities` says where each identity stands, as far as the log could be read.
    """

    checkpoint: Checkpoint | None
    problems: tuple[str, ...]
    identities: Mapping[str, int]

    @property
    def is_sound(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.problems


class Ledger:
    """A transparency log in a folder.

    Args:
        folder: Where the log is; its files can be served as they are.
        verifier: Key that the checkpoints must be signed with.
        signer: Its private half, for the writer.
        on_step: Called before each change of the file system; tests stop the process there.
    """

    def __init__(
        self, folder: Path, *, verifier: Verifier, signer: Signer | None = None, on_step: Step = no_step
    ) -> None:
        self.folder = folder
        self.verifier = verifier
        self._signer = signer
        self._on_step = on_step
        self._tiles = TileFolder(folder, on_step=on_step)

    @classmethod
    def create(cls, folder: Path, *, signer: Signer, on_step: Step = no_step) -> Ledger:
        """Return the log in a folder, and start an empty one where there is none."""
        folder.mkdir(parents=True, exist_ok=True)
        ledger = cls(folder, verifier=signer.verifier, signer=signer, on_step=on_step)
        with ledger._locked():
            if not (folder / "checkpoint").exists():
                if (folder / "tile").exists() or (folder / "index.sqlite").exists():
                    raise LedgerError(f"{folder} has tiles but no checkpoint; restore the checkpoint from a copy.")
                ledger._publish(Checkpoint(origin=signer.name, size=0, root=EMPTY_ROOT))
        return ledger

    def checkpoint_text(self) -> str:
        """Return the signed note of the present checkpoint."""
        path = self.folder / "checkpoint"
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise LedgerError(f"The checkpoint {path} cannot be read: {error}. Restore it from a copy.") from error

    def checkpoint(self) -> Checkpoint:
        """Return the present checkpoint after checking its signature."""
        return open_checkpoint(self.checkpoint_text(), verifier=self.verifier)

    def append(self, entries: Sequence[Mapping[str, object]]) -> list[int]:
        """Append entries and return their places; one that is there already keeps its place.

        Raises:
            LedgerError: an identity (type, zone, date, revision) stands in the log with other content, an entry is too
                long or not of whole numbers, the files do not hold the signed tree, or there is no signing key.
        """
        identities = [identity_of(entry) for entry in entries]
        lines = [canonical_json(entry) for entry in entries]
        longest = max(map(len, lines), default=0)
        if longest > LONGEST_ENTRY:
            raise LedgerError(f"An entry of {longest} bytes is past {LONGEST_ENTRY}; log its hash instead.")
        with self._locked(), self._index() as index:
            return self._append(lines, identities=identities, index=index)

    def entry(self, index: int) -> bytes:
        """Return one entry of the published log."""
        size = self.checkpoint().size
        if not 0 <= index < size:
            raise LedgerError(f"Entry {index} is not in a log of {size} entries.")
        number, place = divmod(index, TILE_WIDTH)
        first = number * TILE_WIDTH
        return list(self._tiles.entries(start=first, end=min(first + TILE_WIDTH, size)))[place]

    def entries(self, *, start: int = 0, end: int | None = None) -> list[bytes]:
        """Return the entries of the published log from `start` to before `end` (None: all that there are)."""
        size = self.checkpoint().size
        return list(self._tiles.entries(start=start, end=size if end is None else min(end, size)))

    def find(self, identity: Mapping[str, object]) -> int | None:
        """Return the place of the entry with this type, zone, date and revision; None when there is none."""
        with self._locked(), self._index() as index:
            text = identity_of(identity)
            known = index.find([text]).get(text)
        return None if known is None else known.log_index

    def find_all(self, identities: Sequence[Mapping[str, object]]) -> list[int | None]:
        """Return the places of entries, in the order of what is asked for; None for those that are not there."""
        texts = [identity_of(identity) for identity in identities]
        with self._locked(), self._index() as index:
            known = index.find(texts)
        return [known[text].log_index if text in known else None for text in texts]

    def accept(self, note: str, *, witness: Verifier) -> Checkpoint:
        """Keep a checkpoint of this log that a witness cosigned, and return it; proofs carry it from then on.

        Raises:
            LedgerError: it is not signed by both, not of this log, or older than the cosigned one that is kept.
        """
        checkpoint = open_checkpoint(note, verifier=self.verifier)
        open_checkpoint(note, verifier=witness)
        body, lines = split_note(note)
        with self._locked():
            if checkpoint.size > self.checkpoint().size or self.root_at(checkpoint.size) != checkpoint.root:
                raise LedgerError(f"A cosigned checkpoint of {checkpoint.size} entries is not of the log as it is.")
            kept = self._cosigned()
            if kept is not None:
                size = open_checkpoint(kept, verifier=self.verifier).size
                if size > checkpoint.size:
                    raise LedgerError(f"A cosigned checkpoint of {size} entries is kept; this one has fewer.")
                if size == checkpoint.size:
                    lines = [*split_note(kept)[1], *lines]
            unique = "".join(f"{line}\n" for line in dict.fromkeys(lines))
            self._tiles.replace({COSIGNED: f"{body}\n{unique}".encode()})
        return checkpoint

    def prove(self, index: int) -> str:
        """Return the C2SP proof file of an entry: its place, its audit path and a signed checkpoint.

        The checkpoint is the cosigned one where that covers the entry, with its witnesses' lines; else the newest.

        Raises:
            LedgerError: the entry is not in the log, or the files do not hold the signed tree.
        """
        note = self.checkpoint_text()
        checkpoint = open_checkpoint(note, verifier=self.verifier)
        if not 0 <= index < checkpoint.size:
            raise LedgerError(f"Entry {index} is not in a log of {checkpoint.size} entries.")
        read = self._tiles.subtrees(checkpoint.size)
        cosigned = self._cosigned()
        if cosigned is not None:
            witnessed = open_checkpoint(cosigned, verifier=self.verifier)
            if index < witnessed.size <= checkpoint.size:
                note, checkpoint = cosigned, witnessed
        proof = inclusion_proof(read, index=index, size=checkpoint.size)
        leaf = read(0, index)
        if not inclusion_holds(leaf=leaf, index=index, size=checkpoint.size, root=checkpoint.root, proof=proof):
            raise LedgerError(f"The tiles in {self.folder} do not hold the signed tree; compare with a copy.")
        hashes = "".join(f"{base64.b64encode(sibling).decode()}\n" for sibling in proof)
        return f"{PROOF_HEADER}\nindex {index}\n{hashes}\n{note}"

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the proof that the tree of `new` entries extends that of `old`."""
        size = self.checkpoint().size
        if not 0 <= old <= new <= size:
            raise LedgerError(f"Sizes {old} and {new} are not in a log of {size} entries.")
        return consistency_proof(self._tiles.subtrees(size), old=old, new=new)

    def root_at(self, size: int) -> bytes:
        """Return the root that the log had when it held `size` entries."""
        return range_root(self._tiles.subtrees(self.checkpoint().size), start=0, end=size)

    def verify(self, *, trusted: Checkpoint | None = None) -> Findings:
        """Read the whole log and return everything that does not hold, also against an older checkpoint one trusts."""
        checkpoint: Checkpoint | None = None
        problems: list[str] = []
        identities: dict[str, int] = {}
        try:
            checkpoint = self.checkpoint()
            leaves: list[bytes] = []
            for place, entry in enumerate(self._tiles.entries(start=0, end=checkpoint.size)):
                leaves.append(leaf_hash(entry))
                first = identities.setdefault(identity_of_line(entry), place)
                if first != place:
                    problems.append(f"Entry {place} repeats the identity of entry {first}.")
            problems += self._faults(checkpoint, read=subtrees_of(leaves), trusted=trusted)
        except LedgerError as error:
            problems.append(str(error))
        return Findings(checkpoint=checkpoint, problems=tuple(problems), identities=identities)

    def _faults(self, checkpoint: Checkpoint, *, read: SubtreeReader, trusted: Checkpoint | None) -> Iterator[str]:
        """Yield what the hashes of the entries say against the signed root, a trusted checkpoint and the tiles."""
        if range_root(read, start=0, end=checkpoint.size) != checkpoint.root:
            yield f"The entries do not have the signed root of {checkpoint.size} entries."
        if trusted is not None and trusted.origin != checkpoint.origin:
            yield f"The log is {checkpoint.origin!r}, the trusted checkpoint is of {trusted.origin!r}."
        elif trusted is not None and trusted.size > checkpoint.size:
            yield f"The log was cut to {checkpoint.size} entries; it had {trusted.size}."
        elif trusted is not None and range_root(read, start=0, end=trusted.size) != trusted.root:
            yield f"The first {trusted.size} entries are not those of the trusted checkpoint."
        level = 0
        while count := checkpoint.size >> TILE_LEVELS * level:
            for first in range(0, count, TILE_WIDTH):
                places = range(first, min(first + TILE_WIDTH, count))
                expected = b"".join(read(TILE_LEVELS * level, place) for place in places)
                number = first // TILE_WIDTH
                if self._tiles.read_tile(str(level), number=number, width=len(places))[: len(expected)] != expected:
                    yield f"Tile {number} of level {level} does not hold the hashes of the entries."
            level += 1

    def _append(self, lines: list[bytes], *, identities: list[str], index: Index) -> list[int]:
        if self._signer is None:
            raise LedgerError("This log was opened without its signing key; appending needs it.")
        before = self.checkpoint()
        hashes = [leaf_hash(line) for line in lines]
        known = {identity: (found.log_index, found.leaf) for identity, found in index.find(identities).items()}
        places: list[int] = []
        fresh: list[int] = []
        for position, (identity, leaf) in enumerate(zip(identities, hashes, strict=True)):
            place, said = known.setdefault(identity, (before.size + len(fresh), leaf))
            if said != leaf:
                raise LedgerError(
                    f"{identity.split()} stands at {place} with other content; a published entry is never changed: "
                    f"append a correction with the next revision."
                )
            if place == before.size + len(fresh):
                fresh.append(position)
            places.append(place)
        if fresh:
            self._commit(before, entries=[lines[p] for p in fresh], hashes=[hashes[p] for p in fresh])
            index.add((identities[p], before.size + i, hashes[p]) for i, p in enumerate(fresh))
        return places

    def _commit(self, before: Checkpoint, *, entries: list[bytes], hashes: list[bytes]) -> None:
        size = before.size + len(entries)
        self._tiles.extend(size=before.size, entries=entries, hashes=hashes)
        read = self._tiles.subtrees(size)
        after = Checkpoint(origin=before.origin, size=size, root=range_root(read, start=0, end=size))
        proof = consistency_proof(read, old=before.size, new=size)
        if not consistency_holds(old=before.size, new=size, old_root=before.root, new_root=after.root, proof=proof):
            raise LedgerError(
                f"The tiles in {self.folder} do not extend the {before.size} signed entries; nothing was signed. "
                f"Restore the tiles from a copy and verify."
            )
        self._publish(after)
        self._tiles.forget_partials(old=before.size, new=size)

    def _cosigned(self) -> str | None:
        try:
            return (self.folder / COSIGNED).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise LedgerError(
                f"The cosigned checkpoint in {self.folder} cannot be read: {error}. Remove it."
            ) from error

    def _publish(self, checkpoint: Checkpoint) -> None:
        assert self._signer is not None
        note = f"{checkpoint.body}\n{self._signer.line(checkpoint.body)}"
        self._tiles.replace({"checkpoint": note.encode()})

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            handle = (self.folder / ".lock").open("a+b")
        except OSError as error:
            raise LedgerError(
                f"The log folder {self.folder} cannot be opened: {error}. Create the log first."
            ) from error
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _index(self) -> Iterator[Index]:
        """Open the index, brought up to the checkpoint; it is behind after a crash and never ahead."""
        index = Index(self.folder / "index.sqlite")
        with contextlib.closing(index):
            size, known = self.checkpoint().size, index.size
            if known > size:
                raise LedgerError(
                    f"The index knows {known} entries but the checkpoint only {size}: the log was cut or an old "
                    f"checkpoint put back. Restore the checkpoint, or delete index.sqlite if that was meant."
                )
            if known < size:
                lines = self._tiles.entries(start=known, end=size)
                index.add((identity_of_line(line), known + i, leaf_hash(line)) for i, line in enumerate(lines))
            yield index

"""Commands on the transparency log: keygen, append, verify, prove, checkpoint, witness."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from energy_assets.cli.root import app, console
from energy_assets.errors import LedgerError
from energy_assets.settings import load_settings

if TYPE_CHECKING:
    from energy_assets.ledger.log import Ledger

ledger = typer.Typer(help="The signed record of what was published.", no_args_is_help=True)
app.add_typer(ledger, name="ledger")

LogOption = Annotated[Path | None, typer.Option("--log", help="Folder of the log; default: the platform's own.")]
KeyOption = Annotated[str | None, typer.Option("--key", help="Verifier key; default: the platform's own.")]


@ledger.command("keygen")
def keygen(
    folder: Annotated[Path, typer.Argument(help="Where signing.key and verifier.key go.")],
    name: Annotated[str, typer.Option(help="Name of the log or witness: your domain and a path.")],
    witness: Annotated[bool, typer.Option("--witness", help="A key of a witness, not of a log.")] = False,
) -> None:
    """Make a key pair; the signing key is readable by its owner only and is never replaced."""
    from energy_assets.ledger.keys import generate_keys
    from energy_assets.ledger.notes import COSIGNATURE, NOTE

    verifier = generate_keys(folder, name=name, algorithm=COSIGNATURE if witness else NOTE)
    typer.echo(verifier.text)


@ledger.command("append")
def append(
    entries: Annotated[Path, typer.Argument(help="JSON lines, one entry a line: type, zone, date, revision, …")],
) -> None:
    """Append entries to the platform's log; one that is there already keeps its place."""
    from energy_assets.ledger.keeping import open_ledger

    settings = load_settings()
    try:
        lines = [json.loads(line) for line in entries.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise LedgerError(f"{entries} cannot be read as JSON lines: {error}.") from error
    for place in open_ledger(settings.ledger_folder, name=settings.ledger_name).append(lines):
        typer.echo(place)


@ledger.command("verify")
def verify(
    log: LogOption = None,
    key: KeyOption = None,
    trusted: Annotated[Path | None, typer.Option(help="A checkpoint that you kept.")] = None,
) -> None:
    """Read the whole log and say everything that does not hold; exits with 1 when something does not."""
    from energy_assets.ledger.notes import open_checkpoint

    opened = _opened(log, key)
    before = None if trusted is None else open_checkpoint(trusted.read_text("utf-8"), verifier=opened.verifier)
    found = opened.verify(trusted=before)
    for problem in found.problems:
        console.print(f"[red]✗[/] {problem}", highlight=False)
    if not found.is_sound or found.checkpoint is None:
        raise typer.Exit(1)
    console.print(f"[green]✓[/] {found.checkpoint.size:,} entries of {found.checkpoint.origin} are as signed")


@ledger.command("prove")
def prove(
    zone: Annotated[str, typer.Option(help="Price zone.")],
    date: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Delivery date.")],
    revision: Annotated[int, typer.Option(min=0, help="Revision of the curve.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for entry.json and proof.txt; default: the screen.")] = None,
) -> None:
    """Give the published entry of a curve and its proof, for a stranger to check with the verifier alone."""
    opened = _opened(None, None)
    kind = "price_curve" if revision == 0 else "price_correction"
    wanted = {"type": kind, "zone": zone, "date": f"{date:%Y-%m-%d}", "revision": revision}
    place = opened.find(wanted)
    if place is None:
        raise LedgerError(f"The log has no {kind} of {zone} for {date:%Y-%m-%d}, revision {revision}.")
    entry, proof = opened.entry(place), opened.prove(place)
    if out is None:
        typer.echo(entry.decode())
        typer.echo(proof, nl=False)
        return
    out.mkdir(parents=True, exist_ok=True)
    (out / "entry.json").write_bytes(entry)
    (out / "proof.txt").write_text(proof, encoding="utf-8")
    console.print(f"Entry {place} and its proof are in {out}. To check them, without anything of ours but one file:")
    console.print(f"  python verifier.py proof {out / 'proof.txt'} '{opened.verifier.text}' {out / 'entry.json'}")


@ledger.command("checkpoint")
def checkpoint(log: LogOption = None, key: KeyOption = None) -> None:
    """Print the signed checkpoint; whoever keeps it can tell later whether anything before it was changed."""
    opened = _opened(log, key)
    opened.checkpoint()
    typer.echo(opened.checkpoint_text(), nl=False)


@ledger.command("witness")
def cosign(
    folder: Annotated[Path, typer.Argument(help="Folder of the witness: its keys and its memory.")],
    log: LogOption = None,
    key: KeyOption = None,
) -> None:
    """Cosign the log's checkpoint, unless the log was cut, rewritten or forked since the witness saw it last."""
    from energy_assets.ledger.keys import load_signer
    from energy_assets.ledger.witness import Witness

    witness = Witness(folder / "seen", signer=load_signer(folder))
    typer.echo(witness.cosign_log(_opened(log, key), now=datetime.now(UTC)), nl=False)


def _opened(log: Path | None, key: str | None) -> Ledger:
    from energy_assets.ledger.keys import load_verifier
    from energy_assets.ledger.log import Ledger
    from energy_assets.ledger.notes import Verifier

    home = load_settings().ledger_folder
    verifier = load_verifier(home / "keys") if key is None else Verifier.from_text(key)
    return Ledger(home / "log" if log is None else log, verifier=verifier)

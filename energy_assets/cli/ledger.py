"""Commands on the transparency log: keygen, append, verify, prove, checkpoint, witness, accept."""

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
        lines = [json.loads(line) for line in _text_of(entries).splitlines() if line.strip()]
    except ValueError as error:
        raise LedgerError(f"{entries} cannot be read as JSON lines: {error}.") from error
    if strange := [line for line in lines if not isinstance(line, dict)]:
        raise LedgerError(f"{entries} holds a line that is no JSON object: {json.dumps(strange[0])[:80]}.")
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
    before = None if trusted is None else open_checkpoint(_text_of(trusted), verifier=opened.verifier)
    found = opened.verify(trusted=before)
    for problem in found.problems:
        console.print(f"[red]✗[/] {problem}", highlight=False)
    if not found.is_sound or found.checkpoint is None:
        raise typer.Exit(1)
    size = found.checkpoint.size
    console.print(f"[green]✓[/] {size:,} {'entry' if size == 1 else 'entries'} of {found.checkpoint.origin}, as signed")


@ledger.command("prove")
def prove(
    zone: Annotated[str | None, typer.Option(help="Price zone, for a curve.")] = None,
    date: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Delivery date of the curve.")] = None,
    revision: Annotated[int | None, typer.Option(min=0, help="Revision of the curve or statement; default: 0.")] = None,
    premise: Annotated[str | None, typer.Option(help="Premise, for a statement.")] = None,
    month: Annotated[datetime | None, typer.Option(formats=["%Y-%m"], help="Month of the statement.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the files; default: the screen.")] = None,
) -> None:
    """Give a published curve, or a household's statement, with its proof, for a stranger to check with the verifier."""
    is_statement, is_curve = premise is not None and month is not None, zone is not None and date is not None
    if not is_statement and not is_curve:
        raise LedgerError("Name a curve by --zone and --date, or a statement by --premise and --month.")
    opened = _opened(None, None)
    if premise is not None and month is not None:
        files, check = _statement_files(opened, premise, month, revision), "statement {folder} '{key}'"
    elif zone is not None and date is not None:
        files = _curve_files(opened, zone, date, revision or 0)
        check = "proof {folder}/proof.txt '{key}' {folder}/entry.json"
    else:
        raise LedgerError("Name a curve by --zone and --date, or a statement by --premise and --month.")
    if out is None:
        for content in files.values():
            typer.echo(content.decode().rstrip("\n"))
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (out / name).write_bytes(content)
    console.print(f"{', '.join(files)} are in {out}. To check them, without anything of ours but one file:")
    console.print(f"  python verifier.py {check.format(folder=out, key=opened.verifier.text)}", soft_wrap=True)


def _curve_files(opened: Ledger, zone: str, date: datetime, revision: int) -> dict[str, bytes]:
    from energy_assets.ledger.keeping import curve_identity
    from energy_assets.ledger.settlements import ENTRY_FILE, PROOF_FILE

    wanted = curve_identity(zone, date.date(), revision)
    place = opened.find(wanted)
    if place is None:
        raise LedgerError(f"The log has no {wanted['type']} of {zone} for {date:%Y-%m-%d}, revision {revision}.")
    return {ENTRY_FILE: opened.entry(place), PROOF_FILE: opened.prove(place).encode()}


def _statement_files(opened: Ledger, premise: str, month: datetime, revision: int | None) -> dict[str, bytes]:
    from energy_assets.contracts import SETTLEMENT_STATEMENTS
    from energy_assets.lake import Lake
    from energy_assets.ledger.keys import salt_secret
    from energy_assets.ledger.settlements import household_files
    from energy_assets.prices.statements import standing

    settings = load_settings()
    lake = Lake.from_settings(settings, author="cli")
    own = lake.read(SETTLEMENT_STATEMENTS, where={"premise_id": premise, "period_start": month.date()})
    own = own.sort("revision") if revision is None else own.filter(own["revision"] == revision)
    if own.is_empty():
        lake.close()
        which = "statement" if revision is None else f"revision {revision} of a statement"
        raise LedgerError(f"{premise} has no {which} for {month:%Y-%m}; see `energy settlement show {premise}`.")
    zone, publication = own.select("zone_id", "publication").row(-1)
    published = lake.read(SETTLEMENT_STATEMENTS, where={"zone_id": zone, "period_start": month.date()})
    lake.close()
    return household_files(
        opened,
        standing(published, publication=publication),
        premise_id=premise,
        publication=publication,
        secret=salt_secret(settings.ledger_folder / "keys"),
    )


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


@ledger.command("accept")
def accept(
    cosigned: Annotated[Path, typer.Argument(help="What the witness's command printed.")],
    witness: Annotated[str, typer.Option(help="Verifier key of the witness.")],
) -> None:
    """Keep a cosigned checkpoint; the proofs of what it covers bear the witness's signature from then on."""
    from energy_assets.ledger.notes import Verifier

    opened = _opened(None, None)
    kept = opened.accept(_text_of(cosigned), witness=Verifier.from_text(witness))
    console.print(f"[green]✓[/] proofs of the first {kept.size:,} entries bear {Verifier.from_text(witness).name}")


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LedgerError(f"{path} cannot be read: {error}. Name a text file that exists.") from error


def _opened(log: Path | None, key: str | None) -> Ledger:
    from energy_assets.ledger.keys import load_verifier
    from energy_assets.ledger.log import Ledger
    from energy_assets.ledger.notes import Verifier

    home = load_settings().ledger_folder
    if log is None and not (home / "log").exists():
        raise LedgerError(
            f"There is no log in {home} yet. The night makes it, or `energy nightly`; another one is named by --log."
        )
    verifier = load_verifier(home / "keys") if key is None else Verifier.from_text(key)
    return Ledger(home / "log" if log is None else log, verifier=verifier)

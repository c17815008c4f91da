"""Commands of MQTT messages: ingest a spool or a dump, and try a mapping."""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from energy_assets.cli.root import app, console
from energy_assets.cli.sources import _ingest, ingest

mapping = typer.Typer(help="Mappings of MQTT messages.", no_args_is_help=True)
app.add_typer(mapping, name="mapping")

MappingFile = Annotated[Path, typer.Option(help="TOML file, or the name of a built-in mapping, as system_003.")]


@ingest.command("mqtt")
def ingest_mqtt(
    path: Annotated[
        Path, typer.Argument(help="Spool folder of the recorder, or a file of JSON lines (also gzip, zstd).")
    ],
    mapping: MappingFile,
    name: Annotated[str, typer.Option(help="Name of the source.")] = "mqtt",
) -> None:
    """Ingest recorded MQTT messages; the nightly run and the sensor read new sealed segments from then on."""
    from energy_assets.messaging.payloads import mapping_file

    _ingest(name=name, kind="mqtt", path=path, mapping=mapping_file(mapping))


@mapping.command("test")
def try_mapping(
    file: Annotated[Path, typer.Argument(help="TOML file, or the name of a built-in mapping.")],
) -> None:
    """Show what a mapping makes of sample messages, given as JSON lines on standard input."""
    import duckdb

    from energy_assets.messaging.staging import stage
    from energy_assets.readings.source import Source

    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        samples = Path(folder) / "samples.jsonl"
        samples.write_bytes(sys.stdin.buffer.read())
        connection.execute("SET TimeZone = 'UTC'")
        source = Source(name="preview", kind="mqtt", path=samples, mapping=file)
        staged = stage(connection, source, window=None, now=datetime.now(UTC))
        rows = connection.execute(
            "SELECT meter_id, starts_at_utc, value, unit, reason, topic FROM temp.staged_window ORDER BY line_number"
        )
        for meter, starts, value, unit, reason, topic in rows.fetchall():
            told = f"refused: {reason}" if reason else f"{meter}  {starts:%Y-%m-%d %H:%M:%S}Z  {value:g} {unit}"
            console.print(f"{topic}  {told}", highlight=False, soft_wrap=True, markup=False)
    counts = staged.counts
    console.print(f"{counts.stored} readings, {counts.duplicate} duplicate, {counts.quarantined} refused")

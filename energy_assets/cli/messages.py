"""Commands of MQTT messages: ingest a spool, dumps or exports of InfluxDB, and try a mapping."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from energy_assets.cli.root import app, console
from energy_assets.cli.sources import ingest
from energy_assets.errors import ConfigError, SourceError
from energy_assets.readings.source import Counts, Source
from energy_assets.settings import load_settings

if TYPE_CHECKING:
    from energy_assets.lake import Lake

mapping = typer.Typer(help="Mappings of MQTT messages.", no_args_is_help=True)
app.add_typer(mapping, name="mapping")

MappingFile = Annotated[Path, typer.Option(help="TOML file, or the name of a built-in mapping, as system_003.")]
Precision = Literal["ns", "us", "ms", "s"]
Name = Annotated[str, typer.Option(help="Name of the source.")]


@ingest.command("mqtt")
def ingest_mqtt(
    folder: Annotated[Path, typer.Argument(help="Spool folder of the recorder.")],
    mapping: MappingFile,
    name: Name = "mqtt",
    afresh: Annotated[
        bool, typer.Option("--afresh", help="Read again what was landed, with the mapping as it is now.")
    ] = False,
) -> None:
    """Ingest what the recorder keeps; the sensor lands new segments from then on."""
    from energy_assets.lake import Lake
    from energy_assets.message_landing import land_segments
    from energy_assets.messaging.payloads import mapping_file
    from energy_assets.messaging.segments import sealed_segments
    from energy_assets.readings.source import save_source

    settings = load_settings()
    source = _source(name, folder, mapping_file(mapping))
    counts = land_segments(Lake.from_settings(settings), source, now=datetime.now(UTC), afresh=afresh)
    declared = save_source(settings.sources_folder, source)
    _tell(name, counts)
    if not sealed_segments(source.path):
        console.print(f"No segment is in {folder} yet: is that where `energy record` keeps its spool?", highlight=False)
    console.print(f"Declared in {declared}; new segments are landed from now on.")


@ingest.command("mqtt-dump")
def ingest_dump(
    files: Annotated[
        list[Path], typer.Argument(help="JSON lines, or what mosquitto_sub -v or -F printed; also gzip and zstd.")
    ],
    mapping: MappingFile,
    name: Name = "mqtt",
    form: Annotated[
        str | None, typer.Option("--format", help="What mosquitto_sub -F was given, as '%I %t %p'.")
    ] = None,
) -> None:
    """Ingest dumps of MQTT messages, each once by its content."""
    from energy_assets.lake import Lake
    from energy_assets.message_landing import land_dumps
    from energy_assets.messaging.payloads import mapping_file

    source = _source(name, files[0].parent, mapping_file(mapping))
    lake = Lake.from_settings(load_settings())
    with _declared_with_what_it_gave(lake, source):
        counts = land_dumps(lake, source, files, form=form, now=datetime.now(UTC))
    _tell(name, counts)


@ingest.command("influx")
def ingest_influx(
    files: Annotated[
        list[Path], typer.Argument(help="Annotated CSV of a query, or line protocol; also gzip and zstd.")
    ],
    mapping: MappingFile,
    name: Name = "influx",
    precision: Annotated[Precision, typer.Option(help="Of the times in line protocol.")] = "ns",
) -> None:
    """Ingest InfluxDB exports, each once by its content; a value's topic is influx/MEASUREMENT/TAG=VALUE/FIELD."""
    from energy_assets.lake import Lake
    from energy_assets.message_landing import land_influx
    from energy_assets.messaging.payloads import mapping_file

    source = _source(name, files[0].parent, mapping_file(mapping))
    lake = Lake.from_settings(load_settings())
    with _declared_with_what_it_gave(lake, source):
        counts = land_influx(lake, source, files, precision=precision, now=datetime.now(UTC))
    _tell(name, counts)


@mapping.command("test")
def try_mapping(
    file: Annotated[Path, typer.Argument(help="TOML file, or the name of a built-in mapping.")],
    form: Annotated[
        str | None, typer.Option("--format", help="What mosquitto_sub -F was given, as '%I %t %p'.")
    ] = None,
) -> None:
    """Show what a mapping makes of sample messages on standard input, written as for ingest mqtt-dump."""
    if sys.stdin.isatty():
        console.print("Type messages, a line each, as `topic payload`; Ctrl-D ends.", highlight=False)
    import duckdb

    from energy_assets.messaging import dumps, staging
    from energy_assets.messaging.payloads import load_payload_mapping

    loaded = load_payload_mapping(file)
    name = "standard input"
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        samples = Path(folder) / name
        samples.write_bytes(sys.stdin.buffer.read())
        connection.execute("SET TimeZone = 'UTC'")
        staging.begin(connection, [staging.Batch(batch_id="samples", name="samples")])
        try:
            for messages in dumps.read_dump(samples, mapping=loaded, form=form):
                staging.add_frame(connection, messages)
        except SourceError as error:  # which names a file that nobody made
            raise SourceError(str(error).replace(str(samples), name)) from error
        staging.require_messages(connection, name=name)
        span = staging.judge(connection, loaded, source="preview")
        staging.mark_repeats(
            connection, staging.Span(first=None, last=None, has_undated=span.has_undated), source="preview", replaced=[]
        )
        _, counts = staging.landings(connection, source="preview", now=datetime.now(UTC))
        shown = staging.query("staged_shown").frame(connection)
        for topic, meter, starts, value, unit, reason, gone, is_repeat, message in shown.iter_rows():
            told = (
                f"{meter}  {starts:%Y-%m-%d %H:%M:%S}Z  {value:g} {unit}" if meter else f"refused: {reason}  {message}"
            )
            told = gone or (f"{told}  (repeat)" if is_repeat else told)
            console.print(f"{topic or '?'}  {told}", highlight=False, soft_wrap=True, markup=False)
    if not counts.rows_in:
        raise SourceError("There was no message on standard input. Give samples, a line each: topic payload, or JSON.")
    console.print(
        f"{counts.stored} readings, {counts.duplicate} duplicate, {counts.quarantined} refused, "
        f"{counts.ignored} ignored"
    )


@mapping.command("show")
def show_mapping(
    name: Annotated[str | None, typer.Argument(help="Name of a built-in mapping. Default: list them.")] = None,
) -> None:
    """Show a built-in mapping, to begin one of your own with."""
    from energy_assets.messaging.payloads import BUILT_IN, load_payload_mapping, mapping_file

    if name is None:
        for file in sorted(BUILT_IN.glob("*.toml")):
            first = file.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
            console.print(f"{file.stem:<18} {first}", highlight=False, markup=False, no_wrap=True, overflow="ellipsis")
        return
    load_payload_mapping(Path(name))
    text = mapping_file(Path(name)).read_text(encoding="utf-8")
    console.print(text, highlight=False, markup=False, soft_wrap=True, end="")


def _source(name: str, path: Path, mapping: Path) -> Source:
    from pydantic import ValidationError

    try:
        return Source(name=name, kind="mqtt", path=path.absolute(), mapping=mapping.absolute())
    except ValidationError as error:
        if any(each["loc"] == ("name",) for each in error.errors()):
            raise ConfigError(
                f"A source cannot be named {name!r}: a small letter, then small letters, digits and _."
            ) from error
        raise ConfigError(f"The source {name!r} is not well declared: {error.errors()[0]['msg']}.") from error


@contextmanager
def _declared_with_what_it_gave(lake: Lake, source: Source) -> Iterator[None]:
    """Declare a source when its files are landed, and also when one fails after another was."""
    from energy_assets.contracts import READINGS_SEGMENTS

    try:
        yield
    except SourceError:
        if lake.count(READINGS_SEGMENTS, where={"source": source.name}):
            _declare_dumps(source)
        raise
    _declare_dumps(source)


def _declare_dumps(source: Source) -> None:
    """Declare a source of files given by hand, unless its name is that of a spool."""
    from energy_assets.message_landing import DUMPS
    from energy_assets.readings.source import load_source, save_source

    folder = load_settings().sources_folder
    declared = folder / f"{source.name}.toml"
    if not declared.is_file() or load_source(declared).options.get(DUMPS):
        save_source(folder, source.model_copy(update={"options": {DUMPS: True}}))


def _tell(name: str, counts: Counts) -> None:
    if counts.rows_in == 0:
        console.print(f"[bold]{name}[/]: no message that was not landed already")
        return
    console.print(
        f"[bold]{name}[/]: {counts.rows_in:,} rows in = {counts.stored:,} stored + {counts.duplicate:,} duplicate "
        f"+ {counts.quarantined:,} quarantined + {counts.ignored:,} ignored"
    )
    if counts.quarantined:
        console.print(f"Why: energy quarantine list --source {name}")

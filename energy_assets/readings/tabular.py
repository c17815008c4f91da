"""Tables of readings, wide or long, CSV or Parquet, by a declared mapping: every row is stored, a repeat or refused.

What a mapping can say stands in `mapping`; this module turns text into instants and numbers, names what cannot be read,
and leaves the counting to `sql/table_*.sql`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl

from energy_assets.contracts import UTC_TIME, Window
from energy_assets.errors import ConfigError, SourceError
from energy_assets.readings import declared_meters
from energy_assets.readings.landing import fingerprint, identity_of, query, run
from energy_assets.readings.mapping import Mapping, load_mapping
from energy_assets.readings.source import Counts, Registry, Source, Staged

_FORMATS = (".parquet", ".csv", ".csv.gz", ".csv.zst", ".tsv", ".txt")


@dataclass(frozen=True, kw_only=True)
class _Part:
    path: Path
    batch_id: str
    identity: tuple[int, ...]


def stage(connection: duckdb.DuckDBPyConnection, source: Source, *, window: Window | None, now: datetime) -> Staged:
    """Stage the parts of a table; see `source.Stage`.

    Raises:
        ConfigError: the mapping is absent or wrong, or leaves open what a meter measures.
        SourceError: a part is missing, empty, truncated, changed while read, or lacks a column.
    """
    if source.mapping is None:
        raise ConfigError(f"Source {source.name} is a table and needs a mapping; add the key mapping.")
    mapping = load_mapping(source.mapping)
    registry = declared_meters.read_registry(mapping, source=source.name)
    parts = list(_parts(source.path))
    declared: dict[str, dict[str, object]] = {}
    run(connection, "table_nothing_staged")
    for part in parts:
        rows = _readings_of(connection, part, mapping=mapping, source=source, registry=registry, declared=declared)
        connection.register("incoming_rows", rows)
        run(connection, "table_stage_part")
        connection.unregister("incoming_rows")
        if identity_of(part.path) != part.identity:
            raise SourceError(f"{part.path} changed while it was read; wait until its writer is done, then repeat.")
    bounds = {
        "starts_at_utc": window.starts_at_utc if window else None,
        "ends_at_utc": window.ends_at_utc if window else None,
    }
    run(connection, "table_window", **bounds)
    landings = query("table_account", source=source.name, now=now)
    totals = connection.sql(landings.text, params=dict(landings.parameters)).pl()
    counts = Counts(**totals.select(pl.col("rows_in", "stored", "duplicate", "quarantined").sum()).row(0, named=True))
    return Staged(
        source=source,
        batch_ids=tuple(part.batch_id for part in parts),
        raw=query("table_raw", source=source.name, delay=timedelta(minutes=source.reporting_delay_minutes)),
        quarantine=query("table_quarantine", source=source.name, now=now),
        landings=landings,
        counts=counts,
        registry=None
        if window is not None
        else _closed(registry, connection, declared=declared, mapping=mapping, source=source.name),
    )


def _closed(
    registry: Registry | None,
    connection: duckdb.DuckDBPyConnection,
    *,
    declared: dict[str, dict[str, object]],
    mapping: Mapping,
    source: str,
) -> Registry:
    """Return the declared registry, or one made from the meters that reported and what the mapping says of them."""
    if registry is not None and not registry.meters.is_empty():
        return registry
    seen = connection.sql(query("table_meters_seen").text).pl()
    made = declared_meters.made_registry(seen, declared=declared, mapping=mapping, source=source)
    if registry is None:
        return made
    return Registry(
        sites=registry.sites if registry.sites.height else made.sites,
        premises=registry.premises if registry.premises.height else made.premises,
        meters=made.meters,
    )


def _parts(path: Path) -> Iterator[_Part]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.name.startswith("readings") and _is_table(file))
    elif path.is_file():
        files = [path]
    else:
        files = sorted(path.parent.glob(path.name)) if path.parent.is_dir() else []
    if not files:
        raise SourceError(f"{path} holds no table: give a file, a glob, or a folder with readings*.parquet or .csv.")
    for file in files:
        identity = identity_of(file)
        if file.suffix == ".gz":
            fingerprint(file)  # DuckDB reads a torn stream without complaint
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()[:32]
        if file.stat().st_size == 0:
            raise SourceError(f"{file} is empty. Export it again.")
        yield _Part(path=file, batch_id=digest, identity=identity)


def _is_table(file: Path) -> bool:
    return file.is_file() and file.name.lower().endswith(_FORMATS)


def _readings_of(
    connection: duckdb.DuckDBPyConnection,
    part: _Part,
    *,
    mapping: Mapping,
    source: Source,
    registry: Registry | None,
    declared: dict[str, dict[str, object]],
) -> pl.DataFrame:
    """Return a part's rows judged: those with a null reason are readings. Meters that are new join `declared`."""
    table, malformed = _read(connection, part, mapping=mapping)
    _require(part, table, mapping=mapping)
    rows = _cells(table, mapping=mapping, source=source.name)
    if registry is not None and registry.meters.height:
        meters = registry.meters.select("meter_id", "unit", "measure", "interval_minutes")
    else:
        declared |= declared_meters.declarations(rows, mapping=mapping)
        meters = declared_meters.as_frame(declared)
    rows = rows.join(meters, on="meter_id", how="left", maintain_order="left")
    judged = _with_payload(_judged(_timed(rows, mapping=mapping), mapping=mapping), table)
    return pl.concat([judged, malformed], how="diagonal_relaxed").with_columns(batch_id=pl.lit(part.batch_id))


def _read(connection: duckdb.DuckDBPyConnection, part: _Part, *, mapping: Mapping) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return a part as a frame with `line_number`, and its malformed lines as judged rows."""
    nothing = pl.DataFrame(schema={"line_number": pl.Int64, "reason": pl.String, "payload": pl.String})
    if part.path.suffix == ".parquet":
        try:
            return pl.read_parquet(part.path).with_row_index("line_number", offset=1), nothing
        except (pl.exceptions.PolarsError, OSError) as error:
            raise SourceError(f"{part.path} cannot be read as Parquet: {error}. Export it again.") from error
    try:
        found = connection.execute(
            "FROM read_csv($path, all_varchar = true, header = true, delim = $delimiter, store_rejects = true, "
            "rejects_limit = 0, parallel = false, null_padding = false)",
            {"path": str(part.path), "delimiter": mapping.file.delimiter},
        ).pl()
        rejects = connection.execute(
            "SELECT line AS line_number, 'malformed_line' AS reason, any_value(csv_line) AS payload "
            "FROM reject_errors GROUP BY line"
        ).pl()
        connection.execute("DROP TABLE IF EXISTS reject_errors; DROP TABLE IF EXISTS reject_scans")
    except duckdb.Error as error:
        raise SourceError(f"{part.path} cannot be read as CSV: {error}. Check delimiter and end of file.") from error
    return found.with_row_index("line_number", offset=2), pl.concat([nothing, rejects.cast(nothing.schema)])


def _require(part: _Part, table: pl.DataFrame, *, mapping: Mapping) -> None:
    named = [*mapping.time.columns, *(each.column for each in mapping.values if each.column is not None)]
    named += [name for each in mapping.values for name in declared_meters.columns_of(each.meter)]
    missing = [name for name in [*named, *(each.column for each in mapping.filters)] if name not in table.columns]
    if missing:
        raise SourceError(
            f"{part.path} lacks the columns {', '.join(missing)} that its mapping names; it has "
            f"{', '.join(table.columns[1:])}. Mend the mapping or the file."
        )
    if table.is_empty():
        raise SourceError(f"{part.path} has no rows. Export it again.")


def _cells(table: pl.DataFrame, *, mapping: Mapping, source: str) -> pl.DataFrame:
    """Return meter_id, stamp, value as it came, and line_number: one row for each reading that is there."""
    for each in mapping.filters:
        table = table.filter(pl.col(each.column).cast(pl.String).is_in(each.values))
    stamp = (
        pl.col(mapping.time.columns[0])
        if len(mapping.time.columns) == 1
        else pl.concat_str(mapping.time.columns, separator=" ")
    )
    frames = []
    for index, values in enumerate(mapping.values):
        for name, groups in declared_meters.matched_columns(table.columns, values):
            meter = declared_meters.template(values.meter, source=source, name=name, groups=groups)
            cell = pl.col(name)
            empty = cell.is_null()
            if table.schema[name] == pl.String:
                empty = empty | cell.str.strip_chars().is_in(mapping.file.null_tokens)
            rows = table.select(
                "line_number",
                meter_id=meter.replace(mapping.rename),
                values_index=pl.lit(index),
                stamp=stamp,
                value=cell,
                is_empty=empty,
            )
            frames.append(rows.filter(~pl.col("is_empty")) if mapping.layout == "wide" else rows)
    return pl.concat(frames, how="vertical_relaxed")


def _with_payload(rows: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with the line that each refused one came from, as JSON; readings need none."""
    wanted = rows.filter(pl.col("reason").is_not_null()).select("line_number").unique()
    lines = table.join(wanted, on="line_number", how="semi")
    lines = lines.select("line_number", payload=pl.struct(pl.exclude("line_number")).struct.json_encode())
    return rows.join(lines, on="line_number", how="left", maintain_order="left").with_columns(
        payload=pl.when(pl.col("reason").is_not_null()).then("payload")
    )


def _timed(rows: pl.DataFrame, *, mapping: Mapping) -> pl.DataFrame:
    """Return the rows with `starts_at_utc`, null where the stamp cannot be read, and `time_fault`."""
    local = _local_time(rows, mapping=mapping)
    offset = mapping.time.offset_minutes
    if isinstance(rows.schema["stamp"], pl.Datetime) and rows.schema["stamp"].time_zone:
        timed = rows.with_columns(starts_at_utc=pl.col("stamp").dt.convert_time_zone("UTC").cast(UTC_TIME))
        timed = timed.with_columns(time_fault=pl.lit(None, pl.String))
    elif offset is not None:
        utc = (local - pl.duration(minutes=offset)).dt.replace_time_zone("UTC").cast(UTC_TIME)
        timed = rows.with_columns(starts_at_utc=utc, time_fault=pl.lit(None, pl.String))
    else:
        timed = _from_zone(rows.with_columns(local=local), zone=mapping.time.zone)
    if mapping.time.marks == "end":
        back = pl.duration(minutes=pl.when(pl.col("measure") != "register").then("interval_minutes").otherwise(0))
        timed = timed.with_columns(starts_at_utc=pl.col("starts_at_utc") - back)
    return timed


def _from_zone(rows: pl.DataFrame, *, zone: str) -> pl.DataFrame:
    """Return local times as UTC: an hour that repeats is told by its order, where a meter shows both."""

    def utc(ambiguous: str) -> pl.Expr:
        return (
            pl.col("local")
            .dt.replace_time_zone(zone, ambiguous=ambiguous, non_existent="null")  # type: ignore[arg-type]
            .dt.convert_time_zone("UTC")
            .cast(UTC_TIME)
        )

    twice = ["meter_id", "local"]
    rows = rows.with_columns(
        first=utc("earliest"),
        second=utc("latest"),
        nth=pl.int_range(pl.len()).over(twice),
        times=pl.len().over(twice),
    )
    repeats = pl.col("first") != pl.col("second")
    return rows.with_columns(
        starts_at_utc=pl.when(repeats & (pl.col("nth") > 0)).then("second").otherwise("first"),
        time_fault=pl.when(pl.col("local").is_not_null() & pl.col("first").is_null())
        .then(pl.lit("nonexistent_local_time"))
        .when(repeats & (pl.col("times") == 1))
        .then(pl.lit("ambiguous_local_time")),
    ).drop("first", "second", "nth", "times", "local")


def _local_time(rows: pl.DataFrame, *, mapping: Mapping) -> pl.Expr:
    stamp, kind = pl.col("stamp"), rows.schema["stamp"]
    if isinstance(kind, pl.Datetime | pl.Date):
        return stamp.cast(pl.Datetime("us"))
    if mapping.time.format in ("unix_s", "unix_ms"):
        unit = 1_000_000 if mapping.time.format == "unix_s" else 1000
        return (stamp.cast(pl.Float64, strict=False) * unit).cast(pl.Int64, strict=False).cast(pl.Datetime("us"))
    text = stamp.cast(pl.String).str.strip_chars()
    if mapping.time.format is not None:
        return text.str.to_datetime(mapping.time.format, time_unit="us", strict=False)
    plain = text.str.replace("T", " ", literal=True).str.replace(r"Z$", "")
    return pl.coalesce(
        plain.str.to_datetime(form, time_unit="us", strict=False)
        for form in ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
    )


def _judged(rows: pl.DataFrame, *, mapping: Mapping) -> pl.DataFrame:
    """Return rows with a numeric value and the first reason why one is no reading; null where it is one."""
    value = pl.col("value")
    if rows.schema["value"] == pl.String:
        text = value.str.strip_chars()
        number = (text.str.replace(",", ".", literal=True) if mapping.file.decimal == "," else text).cast(
            pl.Float64, strict=False
        )
    else:
        number = value.cast(pl.Float64, strict=False)
    return (
        rows.with_columns(number=number)
        .select(
            "line_number",
            "meter_id",
            "starts_at_utc",
            "unit",
            "measure",
            "interval_minutes",
            value=pl.col("number"),
            reason=pl.when(pl.col("measure").is_null())
            .then(pl.lit("unknown_meter"))
            .when(pl.col("time_fault").is_not_null())
            .then("time_fault")
            .when(pl.col("starts_at_utc").is_null())
            .then(pl.lit("unreadable_time"))
            .when(pl.col("is_empty"))
            .then(pl.lit("missing_value"))
            .when(pl.col("number").is_null())
            .then(pl.lit("unreadable_number"))
            .when(~pl.col("number").is_finite())
            .then(pl.lit("not_finite")),
        )
        .with_columns(starts_at_utc=pl.when(~pl.col("reason").eq_missing("ambiguous_local_time")).then("starts_at_utc"))
    )

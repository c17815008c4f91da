"""Tables of readings, wide or long, CSV or Parquet, by a declared mapping: every row is stored, a repeat or refused.

What a mapping can say stands in `mapping`; this module turns text into instants and numbers, names what cannot be read,
and leaves the counting to `sql/table_*.sql`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import duckdb
import polars as pl

from energy_assets.contracts import Window
from energy_assets.errors import ConfigError, SourceError
from energy_assets.readings import declared_meters
from energy_assets.readings.instants import with_instants
from energy_assets.readings.landing import query, run
from energy_assets.readings.mapping import Mapping, load_mapping
from energy_assets.readings.source import Counts, Registry, Source, Staged
from energy_assets.readings.table_files import Part, find_parts, read_part


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
    parts = list(find_parts(source.path))
    declared: dict[str, dict[str, object]] = {}
    run(connection, "table_nothing_staged")
    for part in parts:
        table, malformed = read_part(connection, part.path, csv=mapping.file)
        rows = _judged_rows(
            part, table, malformed, mapping=mapping, source=source.name, registry=registry, declared=declared
        )
        connection.register("incoming_rows", rows)
        run(connection, "table_stage_part")
        connection.unregister("incoming_rows")
        part.confirm()
    bounds = {
        "starts_at_utc": window.starts_at_utc if window else None,
        "ends_at_utc": window.ends_at_utc if window else None,
    }
    run(connection, "table_window", **bounds)
    landings = query("table_account", source=source.name, now=now)
    totals = landings.frame(connection)
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
    """Return the declared registry; what no file declares is made from the meters that reported and the mapping."""
    if registry is not None and not registry.meters.is_empty():
        return declared_meters.with_places(registry.meters, mapping=mapping, source=source, declared=registry)
    seen = query("table_meters_seen").frame(connection)
    made = declared_meters.made_registry(seen, declared=declared, mapping=mapping, source=source)
    return declared_meters.with_places(made.meters, mapping=mapping, source=source, declared=registry)


def _judged_rows(
    part: Part,
    table: pl.DataFrame,
    malformed: pl.DataFrame,
    *,
    mapping: Mapping,
    source: str,
    registry: Registry | None,
    declared: dict[str, dict[str, object]],
) -> pl.DataFrame:
    """Return a part's rows judged: those with a null reason are readings. Meters that are new join `declared`."""
    _require(part, table, mapping=mapping)
    rows = _cells(table, mapping=mapping, source=source)
    if registry is not None and registry.meters.height:
        meters = registry.meters.select("meter_id", "unit", "measure", "interval_minutes")
    else:
        declared |= declared_meters.declarations(rows, mapping=mapping)
        meters = declared_meters.as_frame(declared)
    rows = rows.join(meters, on="meter_id", how="left", maintain_order="left")
    judged = _with_payload(_judged(with_instants(rows, time=mapping.time), mapping=mapping), table)
    return pl.concat([judged, malformed], how="diagonal_relaxed").with_columns(batch_id=pl.lit(part.batch_id))


def _require(part: Part, table: pl.DataFrame, *, mapping: Mapping) -> None:
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
    return rows.with_columns(number=number).select(
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

"""What becomes of every row of weather: part of an hour, a repeat, or refused with a reason.

A row is refused as a whole where its place, its time or its shape is in doubt. A single value that cannot be read or
that no weather can have is refused alone, and the rest of its row is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import polars as pl

from energy_assets.contracts import UTC_TIME, WEATHER_FORECAST, WEATHER_OBSERVED, WEATHER_QUANTITIES, Table, Window
from energy_assets.parsing.stamps import on_clock, plausible, stamp_of
from energy_assets.weather.derived import with_humidity
from energy_assets.weather.lines import IS_MALFORMED, LINE_NUMBER, PAYLOAD, Lines

_NOTHING = ("", "nan", "null", "none", "na", "n/a")

_COUNTS = ("rows_in", "duplicate", "quarantined", "values_refused")
_BATCH: dict[str, pl.DataType | type[pl.DataType]] = {
    "source": pl.String,
    "batch_id": pl.String,
    "subject": pl.String,
    "at_utc": UTC_TIME,
}
REFUSED = pl.Schema(
    _BATCH | {"line_number": pl.Int64, "quantity": pl.String, "reason": pl.String, "payload": pl.String}
)
ACCOUNT = pl.Schema(_BATCH | dict.fromkeys(_COUNTS, pl.Int64))


@dataclass(frozen=True, kw_only=True)
class Instant:
    """When something was, as two expressions: the instant, and the name of the fault where there is none."""

    at_utc: pl.Expr
    fault: pl.Expr


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Where a quantity stands, and what turns its number into our unit."""

    column: str
    convert: Callable[[pl.Expr], pl.Expr] = lambda number: number


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Rows of one batch: hours for a table of weather, what was refused (`REFUSED`), and its account (`ACCOUNT`).

    `hours` has `__source`, `__batch_id`, the table's key, quantities, and `line_count`: of how many rows each was made.
    """

    table: Table
    hours: pl.DataFrame
    refused: pl.DataFrame
    account: pl.DataFrame


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the columns of a batch mean. `site_id` is null where the site is not known; `issued_at` is of forecasts."""

    site_id: pl.Expr
    starts_at: Instant
    cells: Mapping[str, Cell]
    issued_at: Instant | None = None
    kept: Mapping[str, pl.Expr] = field(default_factory=dict)
    """What else goes on with an hour: of several rows, the greatest."""

    @property
    def table(self) -> Table:
        """Return the contract that the rows are for."""
        return WEATHER_FORECAST if self.issued_at else WEATHER_OBSERVED

    @property
    def times(self) -> dict[str, Instant]:
        """Return the instants of a row by the contract's names."""
        issued = {"issued_at_utc": self.issued_at} if self.issued_at else {}
        return {"starts_at_utc": self.starts_at, **issued}

    @property
    def key(self) -> list[str]:
        """Return the columns that tell rows apart: the site, and the instants from the issue on."""
        return ["site_id", *reversed(self.times)]


def judge(lines: Lines, layout: Layout, *, source: str, window: Window) -> Judged:
    """Return what becomes of the rows of a batch whose hour (of forecasts: issue) lies in `window` or is unreadable."""
    # Several models may speak of one hour, at one issue.
    voices = ["source"] if layout.issued_at and "source" in layout.kept else []
    key = [*layout.key, *voices]
    at = pl.col(str(layout.table.window_column))
    is_wanted = at.is_null() | ((at >= window.starts_at_utc) & (at < window.ends_at_utc))
    rows = _without_wrong_values(_dated_rows(lines, layout).filter(is_wanted).collect(), layout.cells)
    rows = rows.with_columns(_repeats(key, list(layout.cells)))
    values = _refused_values(rows, layout.cells, at=at)
    refused = pl.concat([rows.filter(pl.col("__fault").is_not_null()).select(*_refusal(at, "__fault")), values])
    of = {"source": pl.lit(source), "batch_id": pl.lit(lines.batch_id), "subject": pl.lit(layout.table.name)}
    fine = rows.filter(pl.col("__fault").is_null(), ~pl.col("__is_repeat"))
    return Judged(
        table=layout.table,
        hours=_hourly(fine, key=key, kept=[name for name in layout.kept if name not in voices]).with_columns(
            __source=of["source"], __batch_id=of["batch_id"]
        ),
        refused=_told(refused, lines).with_columns(**of).select(REFUSED.names()).cast(REFUSED),
        account=_account(rows, values, layout=layout).with_columns(**of).select(ACCOUNT.names()).cast(ACCOUNT),
    )


def _dated_rows(lines: Lines, layout: Layout) -> pl.LazyFrame:
    """Return the lines with key, values as text and as numbers, and the fault of the whole line, if any."""
    times = layout.times
    faults = [
        pl.when(pl.col(IS_MALFORMED)).then(pl.lit("malformed_line")),
        *(each.fault for each in times.values()),
        pl.when(layout.site_id.is_null()).then(pl.lit("unknown_site")),
    ]
    return (
        lines.rows.lazy()
        .with_columns(**{f"__{name}": each.at_utc for name, each in times.items()})
        .with_columns(__fault=pl.coalesce(faults), __site_id=layout.site_id)
        .select(
            "__fault",
            LINE_NUMBER,
            PAYLOAD,
            **{name: pl.col(f"__{name}") for name in layout.key},
            **{f"__{name}": _text(cell.column) for name, cell in layout.cells.items()},
            **{name: cell.convert(_number(cell.column)) for name, cell in layout.cells.items()},
            **layout.kept,
        )
        # A line that is torn may name any hour.
        .with_columns(pl.when(pl.col("__fault").ne_missing("malformed_line")).then(each).alias(each) for each in times)
    )


def _account(rows: pl.DataFrame, values: pl.DataFrame, *, layout: Layout) -> pl.DataFrame:
    """Return rows in, repeats, refused rows and refused values: of observations by day, of forecasts by issue."""

    def accounted(at: pl.Expr) -> pl.Expr:
        return at if layout.issued_at else at.dt.truncate("1d")

    of_values = values.group_by(at_utc=accounted(pl.col("at_utc"))).agg(values_refused=pl.len())
    return (
        rows.group_by(at_utc=accounted(pl.col(str(layout.table.window_column))))
        .agg(rows_in=pl.len(), duplicate=pl.col("__is_repeat").sum(), quarantined=pl.col("__fault").is_not_null().sum())
        .join(of_values, on="at_utc", how="left", nulls_equal=True)
        .with_columns(pl.col("values_refused").fill_null(0))
    )


def instant_of(rows: pl.DataFrame, column: str, *, zone: str = "UTC", form: str | None = None) -> Instant:
    """Return a column as instants: time stamps, or text in `form` or ISO 8601, whose own offset comes before `zone`."""
    dtype = rows.schema[column]
    stamp = stamp_of(pl.col(column), dtype, form=form)
    exact, local = stamp.instant, stamp.local
    if form and dtype == pl.String:
        exact = pl.coalesce(exact, stamp_of(pl.col(column), dtype).instant)
    first, second = (on_clock(local, zone=zone, which=which) for which in ("earliest", "latest"))
    at_utc = pl.coalesce(exact, pl.when(first == second).then(first)).cast(UTC_TIME)
    at_utc = plausible(at_utc)
    fault = (
        pl.when(at_utc.is_null())
        .then(
            pl.when(exact.is_not_null() | local.is_null() | (first == second))
            .then(pl.lit("unreadable_time"))
            .when(first.is_null())
            .then(pl.lit("nonexistent_local_time"))
            .otherwise(pl.lit("ambiguous_local_time"))
        )
    )  # fmt: skip
    return Instant(at_utc=at_utc, fault=fault)


def _text(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.String)


def _number(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Float64, strict=False).fill_nan(None)


def _without_wrong_values(rows: pl.DataFrame, cells: Mapping[str, Cell]) -> pl.DataFrame:
    """Return the rows without the values that cannot be, and the reason for each of these as `__reason_<quantity>`."""
    reasons = {}
    for name in cells:
        bounds, value, text = WEATHER_OBSERVED.column(name), pl.col(name), pl.col(f"__{name}").str.strip_chars()
        # A number that says "not known" (nine oktas) becomes null by its conversion, and is not refused.
        is_unread = ~text.str.to_lowercase().is_in(_NOTHING) & text.cast(pl.Float64, strict=False).is_null()
        is_absurd = ~(value.is_finite() & value.is_between(bounds.minimum, bounds.maximum))
        reasons[f"__reason_{name}"] = (
            pl.when(is_unread).then(pl.lit("unreadable_number")).when(is_absurd).then(pl.lit("implausible"))
        )
    return rows.with_columns(**reasons).with_columns(
        pl.when(pl.col(f"__reason_{name}").is_null()).then(name).alias(name) for name in cells
    )


def _refused_values(rows: pl.DataFrame, cells: Mapping[str, Cell], *, at: pl.Expr) -> pl.DataFrame:
    kept = rows.filter(pl.col("__fault").is_null(), ~pl.col("__is_repeat"))
    return pl.concat(
        [
            kept.filter(pl.col(f"__reason_{name}").is_not_null()).select(
                *_refusal(at, f"__reason_{name}", quantity=name)
            )
            for name in cells
        ]
        or [kept.clear().select(*_refusal(at, "__fault"))]
    )


def _refusal(at: pl.Expr, reason: str, *, quantity: str | None = None) -> list[pl.Expr]:
    return [
        pl.col(LINE_NUMBER).alias("line_number"),
        pl.lit(quantity, pl.String).alias("quantity"),
        at.alias("at_utc"),
        pl.col(reason).alias("reason"),
        pl.col(PAYLOAD).alias("payload"),
    ]


def _repeats(key: list[str], quantities: list[str]) -> list[pl.Expr]:
    """Return which rows repeat an earlier one, and the fault of those that contradict it: the first one stands."""
    is_fine = pl.col("__fault").is_null()
    nth = pl.int_range(pl.len()).over("__fault", *key)
    same = pl.struct(quantities) if quantities else pl.lit(value=True)
    is_equal = same == same.first().over("__fault", *key)
    return [
        (is_fine & (nth > 0) & is_equal).alias("__is_repeat"),
        pl.when(is_fine & (nth > 0) & ~is_equal).then(pl.lit("conflict")).otherwise("__fault").alias("__fault"),
    ]


def _told(refused: pl.DataFrame, lines: Lines) -> pl.DataFrame:
    """Return the refusals with the row as it came, as JSON where the batch had no lines of text."""
    if refused["payload"].null_count() == 0:
        return refused
    columns = [name for name in lines.rows.columns if not name.startswith("__")]
    came = lines.rows.join(refused.select("line_number").unique(), left_on=LINE_NUMBER, right_on="line_number")
    told = came.select(line_number=LINE_NUMBER, __json=pl.struct(columns).struct.json_encode())
    return refused.join(told, on="line_number", how="left", maintain_order="left").with_columns(
        payload=pl.coalesce("payload", "__json")
    )


def _hourly(rows: pl.DataFrame, *, key: list[str], kept: list[str]) -> pl.DataFrame:
    """Return whole hours: means, the mean direction of the wind, and sums of precipitation where none is missing."""
    names = [name for name in WEATHER_QUANTITIES if name in rows.columns]
    how: dict[str, pl.Expr] = {name: pl.col(name).mean() for name in names}
    if "precipitation_mm" in how:
        fallen = pl.col("precipitation_mm")
        how["precipitation_mm"] = pl.when(fallen.count() >= _rows_an_hour(rows)).then(fallen.sum())
    if "wind_direction_deg" in how:
        angle = pl.col("wind_direction_deg") * math.pi / 180
        how["wind_direction_deg"] = (
            pl.when(angle.count() > 0)
            .then(pl.arctan2(angle.sin().mean(), angle.cos().mean()) * 180 / math.pi)
            .mod(pl.lit(360.0))
        )  # fmt: skip
    how |= {name: pl.col(name).max() for name in kept}
    others = [name for name in key if name != "starts_at_utc"]
    hour = pl.col("starts_at_utc").dt.truncate("1h")
    hourly = rows.group_by(*others, starts_at_utc=hour, maintain_order=True).agg(
        line_count=pl.len().cast(pl.Int64), **how
    )
    return with_humidity(hourly.sort(key))


def _rows_an_hour(rows: pl.DataFrame) -> int:
    """Return how many rows an hour usually has; the more, where two numbers are as usual."""
    step = pl.col("starts_at_utc").diff().over("site_id", order_by="starts_at_utc").alias("step")
    shortest = rows.select(step).filter(pl.col("step") > timedelta(0))["step"].mode().min()
    return max(1, int(timedelta(hours=1) / shortest)) if isinstance(shortest, timedelta) else 1

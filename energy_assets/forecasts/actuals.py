"""What happened at the nodes and slots of past forecasts, and what plain baselines would have said."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from energy_assets.forecasts.nodes import memberships

BASELINE_WEEKS = {"last_week": (1,), "mean_4_weeks": (1, 2, 3, 4)}
_CLOCK_CHANGE = timedelta(hours=2)


def with_actuals(
    forecasts: pl.DataFrame, *, readings: pl.DataFrame, meters: pl.DataFrame, sites: pl.DataFrame
) -> pl.DataFrame:
    """Return forecasts with `actual_kwh` and the baselines `last_week` and `mean_4_weeks`, null where not known.

    `forecasts` are rows of `forecasts.load` of any issues, `readings` rows of `readings.interval` of their slots and of
    four weeks before. A node has a value only where all its members have one; a baseline takes the same local clock
    time whole weeks before, and its mean takes the weeks that are known.
    """
    of_meters = _meter_values(forecasts, readings, meters=meters, sites=sites)
    return forecasts.join(
        pl.concat([of_meters, _node_values(forecasts, of_meters, meters=meters)]),
        on=["node_id", "starts_at_utc"],
        how="left",
        validate="m:1",
        maintain_order="left",
    )


def known_within(
    compared: pl.DataFrame, *, readings: pl.DataFrame, meters: pl.DataFrame, after: timedelta
) -> pl.DataFrame:
    """Return rows of `with_actuals` without the `actual_kwh` of which a reading came later than `after` the issue.

    What later nights learn from an issue is then the same whenever it is counted. `readings` has `available_at_utc`.
    """
    longest = (compared["starts_at_utc"] - compared["issued_at_utc"]).max()
    if not isinstance(longest, timedelta):
        return compared
    slow = readings.filter(pl.col("available_at_utc") - pl.col("starts_at_utc") > after - longest).select(
        "meter_id", "starts_at_utc", known_at_utc="available_at_utc"
    )
    if slow.is_empty():
        return compared
    members = memberships(meters).select("node_id", "meter_id", "interval_minutes")
    of_nodes = slow.join(members, on="meter_id", how="inner").with_columns(
        pl.col("starts_at_utc").dt.truncate(pl.concat_str("interval_minutes", pl.lit("m")))
    )
    columns = ["node_id", "starts_at_utc", "known_at_utc"]
    known = pl.concat([slow.rename({"meter_id": "node_id"}).select(columns), of_nodes.select(columns)])
    newest = known.group_by("node_id", "starts_at_utc").agg(pl.col("known_at_utc").max())
    in_time = (pl.col("known_at_utc") <= pl.col("issued_at_utc") + after).fill_null(value=True)
    return (
        compared.join(newest, on=["node_id", "starts_at_utc"], how="left", validate="m:1", maintain_order="left")
        .with_columns(actual_kwh=pl.when(in_time).then("actual_kwh"))
        .drop("known_at_utc")
    )


def _meter_values(
    forecasts: pl.DataFrame, readings: pl.DataFrame, *, meters: pl.DataFrame, sites: pl.DataFrame
) -> pl.DataFrame:
    zones = meters.select("meter_id", "site_id").join(
        sites.select("site_id", "timezone"), on="site_id", how="left", validate="m:1"
    )
    known = readings.filter(pl.col("energy_kwh").is_finite(), _near_whole_weeks_before(forecasts))
    known = known.select("meter_id", "starts_at_utc", "energy_kwh")
    wanted = forecasts.filter(pl.col("node_kind") == "meter").select(meter_id="node_id", starts_at_utc="starts_at_utc")
    wanted = wanted.unique().join(zones, on="meter_id", how="inner").with_columns(pl.col("timezone").fill_null("UTC"))
    values = wanted.join(known, on=["meter_id", "starts_at_utc"], how="left").rename({"energy_kwh": "actual_kwh"})
    for week in range(1, 5):
        lagged = (
            pl.concat(
                group.with_columns(at=_weeks_before(week, timezone=str(timezone)))
                for (timezone,), group in values.partition_by("timezone", as_dict=True).items()
            )
            if values.height
            else values.with_columns(at="starts_at_utc")
        )
        values = lagged.join(
            known.rename({"starts_at_utc": "at", "energy_kwh": f"_week_{week}"}), on=["meter_id", "at"], how="left"
        ).drop("at")
    baselines = {name: pl.mean_horizontal(f"_week_{week}" for week in weeks) for name, weeks in BASELINE_WEEKS.items()}
    return values.select("starts_at_utc", "actual_kwh", node_id="meter_id", **baselines).select(
        "node_id", "starts_at_utc", "actual_kwh", *BASELINE_WEEKS
    )


def _near_whole_weeks_before(forecasts: pl.DataFrame) -> pl.Expr:
    """Return whether a reading lies in the span of the forecasts, or whole weeks before it."""
    first, last = forecasts.select(
        pl.col("starts_at_utc").min().alias("first"), pl.col("starts_at_utc").max().alias("last")
    ).row(0)
    if first is None:
        return pl.lit(value=False)
    spans = [(first - timedelta(weeks=week), last - timedelta(weeks=week)) for week in range(5)]
    return pl.any_horizontal(
        pl.col("starts_at_utc").is_between(start - _CLOCK_CHANGE, end + _CLOCK_CHANGE) for start, end in spans
    )


def _weeks_before(weeks: int, *, timezone: str) -> pl.Expr:
    """Return the instant of the same local clock time whole weeks before; within the hour at a change of the clock."""

    def offset(time: pl.Expr) -> pl.Expr:
        local = time.dt.convert_time_zone(timezone)
        return (local.dt.base_utc_offset() + local.dt.dst_offset()).cast(pl.Duration("us"))

    before = pl.col("starts_at_utc") - timedelta(weeks=weeks)
    return before + (offset(pl.col("starts_at_utc")) - offset(before))


def _node_values(forecasts: pl.DataFrame, of_meters: pl.DataFrame, *, meters: pl.DataFrame) -> pl.DataFrame:
    members = memberships(meters.join(of_meters.select(meter_id="node_id").unique(), on="meter_id", how="semi"))
    wanted = forecasts.filter(pl.col("node_kind") != "meter").select("node_id", "starts_at_utc").unique()
    names = ["actual_kwh", *BASELINE_WEEKS]
    sums = (
        of_meters.rename({"node_id": "meter_id"})
        .join(members, on="meter_id", how="inner")
        .with_columns(pl.col("starts_at_utc").dt.truncate(pl.concat_str("interval_minutes", pl.lit("m"))))
        .group_by("node_id", "starts_at_utc")
        .agg(
            pl.when(pl.col(name).is_not_null().all()).then((pl.col(name) * pl.col("sign")).sum()).alias(name)
            for name in names
        )
    )
    return sums.join(wanted, on=["node_id", "starts_at_utc"], how="semi").select("node_id", "starts_at_utc", *names)

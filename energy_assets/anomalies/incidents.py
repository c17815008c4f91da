"""One site-wide incident instead of forty events, when many meters of a site go wrong together.

A gateway that fails makes data faults that begin together; a bad weather feed makes odd consumption of one sign.
"""

from __future__ import annotations

import hashlib
import math
from datetime import datetime, timedelta

import polars as pl

from energy_assets.anomalies.limits import Limits
from energy_assets.contracts import ANOMALIES_EVENTS

_SEVERITIES = pl.Enum(["low", "medium", "high", "critical"])
_SUMS = ("actual_kwh", "expected_kwh", "excess_low_kwh", "excess_high_kwh", "cost", "greenhouse_gas_kg")


def with_incidents(
    events: pl.DataFrame, *, meters: pl.DataFrame, stored: pl.DataFrame, since_utc: datetime | None, limits: Limits
) -> pl.DataFrame:
    """Return the events of single meters, members marked with `incident_id`, and one row for each incident.

    Events of one site and family are together when they begin within `incident_hours` of the first of them (on one UTC
    day for consumption), and concern `incident_least_meters` and `incident_share` of the site's meters. Incidents that
    overlap are one. `stored` are incidents of before: one whose members stand in it keeps its id and past alert, and
    events that began before `since_utc` stay in theirs.
    """
    before = events["incident_id"] if "incident_id" in events.columns else pl.Series([None] * events.height)
    known = set(stored["event_id"])
    before = before.cast(pl.String)
    events = events.with_columns(stored_incident=pl.when(before.is_in(list(known))).then(before))
    if "site_id" not in meters.columns or events.is_empty():
        return events.with_columns(incident_id=pl.lit(None, dtype=pl.String)).drop("stored_incident")
    sizes = meters.group_by("site_id").agg(site_meters=pl.col("meter_id").n_unique())
    ordered = events.join(sizes, on="site_id", how="left", validate="m:1").sort(
        "site_id", "family", "starts_at_utc", "event_id"
    )
    groups = _groups(ordered, since_utc=since_utc, limits=limits)
    marked = ordered.with_columns(group=pl.Series(groups, dtype=pl.String)).drop("site_meters")
    rows = _incidents(marked.drop_nulls("group"), stored=stored)
    marked = marked.drop("incident_id", "stored_incident", strict=False).join(
        rows.select("group", "incident_id"), on="group", how="left", validate="m:1"
    )
    return pl.concat([marked.drop("group"), rows.drop("group")], how="diagonal_relaxed")


def _groups(ordered: pl.DataFrame, *, since_utc: datetime | None, limits: Limits) -> list[str | None]:
    """Return the group of each event: that of its incident, None for those that stand alone."""
    groups: list[str | None] = []
    for (site, family), rows in ordered.group_by("site_id", "family", maintain_order=True):
        settled = rows["starts_at_utc"] < since_utc if since_utc else pl.Series([False] * rows.height)
        old = rows.filter(settled)
        groups += old["stored_incident"].to_list()
        standing = old.drop_nulls("stored_incident").sort("ends_at_utc")
        name, until = standing.select("stored_incident", "ends_at_utc").row(-1) if standing.height else (None, None)
        groups += _bursts(rows.filter(~settled), label=f"{site}|{family}", name=name, until=until, limits=limits)
    return groups


def _bursts(
    rows: pl.DataFrame, *, label: str, name: str | None, until: datetime | None, limits: Limits
) -> list[str | None]:
    """Return the group of events of one site and family, by their start; `name` and `until` are of one that stands."""
    groups: list[str | None] = [None] * rows.height
    size = rows["site_meters"][0] if rows.height else None
    if size is None:
        return groups
    needed = max(limits.incident_least_meters, math.ceil(limits.incident_share * size))
    starts, ends, ids = (rows[column].to_list() for column in ("starts_at_utc", "ends_at_utc", "meter_id"))
    is_fault = rows["family"][0] == "data_fault"
    first = last = 0
    while first + needed <= rows.height:
        day = starts[first].replace(hour=0, minute=0, second=0, microsecond=0)
        reach = starts[first] + timedelta(hours=limits.incident_hours) if is_fault else day + timedelta(days=1)
        last = max(last, first)
        while last < rows.height and starts[last] < reach:
            last += 1
        if last - first < needed or len(set(ids[first:last])) < needed:
            first += 1
            continue
        # Incidents that overlap are one: the site is in trouble.
        if name is None or until is None or starts[first] >= until:
            name, until = f"{label}|{first}", ends[first]
        groups[first:last] = [name] * (last - first)
        until = max(until, *ends[first:last])
        first = last
    return groups


def _incidents(members: pl.DataFrame, *, stored: pl.DataFrame) -> pl.DataFrame:
    main = pl.col("cause").mode().sort().first()
    totals = {name: pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()) for name in _SUMS}
    rows = members.group_by("group", maintain_order=True).agg(
        pl.col("site_id", "family").first(),
        main,
        confidence=(pl.col("cause") == main).mean(),
        starts_at_utc=pl.col("starts_at_utc").min(),
        ends_at_utc=pl.col("ends_at_utc").max(),
        slots=pl.col("slots").sum(),
        score=pl.col("score").max(),
        meters=pl.col("meter_id").n_unique().cast(pl.Int64),
        severity=pl.col("severity").cast(_SEVERITIES).max().cast(pl.String),
        first_seen_utc=pl.col("first_seen_utc").min(),
        last_seen_utc=pl.col("last_seen_utc").max(),
        stored_incident=pl.col("stored_incident").drop_nulls().mode().sort().first(),
        **totals,
    )
    used: set[str] = set()
    ids = []
    for site, family, start, before in rows.select("site_id", "family", "starts_at_utc", "stored_incident").iter_rows():
        own = hashlib.sha256(f"{site}|incident|{family}|{start.isoformat()}".encode()).hexdigest()[:16]
        own = before if before is not None and before not in used else own
        while own in used:
            own = hashlib.sha256(own.encode()).hexdigest()[:16]
        used.add(own)
        ids.append(own)
    said = pl.format("{} meters of {} together: {}.", "meters", "site_id", pl.col("cause").str.replace_all("_", " "))
    excess = pl.when(pl.col("family") != "data_fault").then(pl.col("actual_kwh") - pl.col("expected_kwh"))
    named = rows.drop("stored_incident").with_columns(
        event_id=pl.Series(ids, dtype=pl.String),
        incident_id=pl.Series(ids, dtype=pl.String),
        meter_id=pl.lit(None, dtype=pl.String),
        excess_kwh=excess,
        evidence=said,
    )
    alerts = ANOMALIES_EVENTS.conform(stored).select("event_id", "alerted_at_utc")
    return named.join(alerts, on="event_id", how="left", validate="1:1")

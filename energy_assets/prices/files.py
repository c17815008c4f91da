"""Prices for anybody's file: net load in, curve and account out. What `energy price` runs.

A file may hold several delivery days; each is priced on its own, and what a day's limits withhold is carried into the
next. The days in which a file begins and ends may be cut off: they are named and left out. Formats follow the names of
the files: .csv, .parquet, .json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import polars as pl

from energy_assets.errors import ContractError, SourceError
from energy_assets.prices.days import day_slots
from energy_assets.prices.exchange import curve_csv, curve_document, openadr_event, utc_text
from energy_assets.prices.times import read_timed
from energy_assets.prices.welfare import PriceCurve, price_curve
from energy_assets.prices.zones import ZoneConfig, load_zone


@dataclass(frozen=True, kw_only=True)
class PricedFile:
    """The curve of each whole local day of a file, and the days that were left out with their reasons."""

    curves: list[PriceCurve]
    skipped: Mapping[date, str]


def price_file(
    net_load_path: Path,
    *,
    zone_path: Path | None,
    out_path: Path,
    report_path: Path | None,
    published_at_utc: datetime,
    openadr_path: Path | None = None,
) -> PricedFile:
    """Price every local day of a net load file, write the curves and the account, and return them.

    Args:
        net_load_path: CSV or Parquet with starts_at_utc and q10, q50, q90, or energy_kwh; kWh per slot.
        zone_path: TOML of the zone; None for the defaults.
        out_path: Where the curves go: .csv, .parquet or .json.
        report_path: Where the account of each day goes, as JSON; None for nowhere.
        published_at_utc: Time that the curves bear.
        openadr_path: Where the OpenADR 3 events go, one for each day, as a JSON array; None for nowhere.

    Raises:
        SourceError: a file cannot be read or written, or its name asks for an unknown format.
        ConfigError: the zone is not one.
        ContractError: a day of the file is not whole, or there is none that is.
    """
    if out_path.suffix not in (".csv", ".parquet", ".json"):
        raise SourceError(f"Curves cannot be written to {out_path}: name it .csv, .parquet or .json.")
    zone = ZoneConfig() if zone_path is None else load_zone(zone_path)
    whole, skipped = without_cut_days(read_net_load(net_load_path), zone=zone)
    if whole.is_empty():
        raise ContractError(f"Net load {net_load_path} has no slots; give at least one whole local day.")
    curves = price_days(whole, zone=zone, published_at_utc=published_at_utc)
    try:
        _write(curves, out_path)
        if report_path is not None:
            _write_json(report_path, report(curves, zone=zone, skipped=skipped))
        if openadr_path is not None:
            _write_json(openadr_path, [openadr_event(curve.rows, program_id=zone.zone_id) for curve in curves])
    except OSError as error:
        raise SourceError(
            f"A file cannot be written: {error}. Give a folder that exists and may be written."
        ) from error
    return PricedFile(curves=curves, skipped=skipped)


def without_cut_days(net_load: pl.DataFrame, *, zone: ZoneConfig) -> tuple[pl.DataFrame, dict[date, str]]:
    """Return the net load without a first or last local day that the file cuts off, and what was left out and why.

    A day that misses slots elsewhere stays, so that pricing it fails and names it; so does the only day of a file.
    """
    local = pl.col("starts_at_utc").dt.convert_time_zone(zone.timezone).dt.date()
    starts = net_load.select("starts_at_utc", day=local).sort("starts_at_utc")
    days: list[date] = starts["day"].unique().sort().to_list()
    steps = starts["starts_at_utc"].diff().drop_nulls()
    if len(days) < 2:
        return net_load, {}
    minutes = max(int(steps.mode().sort()[0].total_seconds()) // 60, 1)
    skipped: dict[date, str] = {}
    for day, cut in ((days[0], slice(None, None, -1)), (days[-1], slice(None))):
        present = starts.filter(pl.col("day") == day)["starts_at_utc"].to_list()[cut]
        expected = day_slots(day, zone=zone, interval_minutes=minutes)[cut]
        if len(present) < len(expected) and present == expected[: len(present)]:
            skipped[day] = f"the file holds {len(present)} of its {len(expected)} slots"
    if len(skipped) == len(days):
        return net_load, {}
    return net_load.filter(~local.is_in(list(skipped))), skipped


def price_days(net_load: pl.DataFrame, *, zone: ZoneConfig, published_at_utc: datetime) -> list[PriceCurve]:
    """Return the curve of each local day in a net load frame, in order; true-ups are carried from day to day."""
    local = net_load.with_columns(local_day=pl.col("starts_at_utc").dt.convert_time_zone(zone.timezone).dt.date())
    curves: list[PriceCurve] = []
    carried = 0.0
    days: list[date] = local["local_day"].unique().sort().to_list()
    for delivery_date in days:
        curve = price_curve(
            local.filter(pl.col("local_day") == delivery_date).drop("local_day"),
            zone=zone,
            delivery_date=delivery_date,
            revision=0,
            published_at_utc=published_at_utc,
            true_up=carried,
        )
        carried = curve.day["true_up_carried"][0]
        curves.append(curve)
    return curves


def read_net_load(path: Path) -> pl.DataFrame:
    """Return a net load file with starts_at_utc as UTC times; times without zone are taken as UTC.

    Raises:
        SourceError: the file cannot be read, or starts_at_utc is not a time.
    """
    return read_timed(path, what="Net load")


def report(curves: list[PriceCurve], *, zone: ZoneConfig, skipped: Mapping[date, str]) -> dict[str, object]:
    """Return the account of every day, the sums, and the days left out with their reasons, JSON-ready."""
    accounts = [curve.day.row(0, named=True) for curve in curves]
    return {
        "zone": zone.model_dump(mode="json"),
        "social_cost": sum(account["social_cost"] for account in accounts),
        "social_cost_flat": sum(account["social_cost_flat"] for account in accounts),
        "days": [
            {
                **account,
                "delivery_date": account["delivery_date"].isoformat(),
                "starts_at_utc": utc_text(account["starts_at_utc"]),
                "solver_status": curve.rows["solver_status"][0],
                "inputs_hash": curve.rows["inputs_hash"][0],
            }
            for account, curve in zip(accounts, curves, strict=True)
        ],
        "skipped": {day.isoformat(): reason for day, reason in skipped.items()},
    }


def _write(curves: list[PriceCurve], path: Path) -> None:
    rows = pl.concat([curve.rows for curve in curves])
    if path.suffix == ".parquet":
        rows.write_parquet(path)
    elif path.suffix == ".csv":
        path.write_text(curve_csv(rows), encoding="utf-8")
    else:
        _write_json(path, {"curves": [curve_document(curve.rows) for curve in curves]})


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

"""Prices for anybody's file: net load in, curve and account out. What `energy price` runs.

A file may hold several delivery days; each is priced on its own, and what a day's limits withhold is carried into the
next. Formats follow the names of the files: .csv, .parquet, .json.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path

import polars as pl

from energy_assets.errors import SourceError
from energy_assets.prices.exchange import curve_csv, curve_document, utc_text
from energy_assets.prices.times import read_table, with_utc
from energy_assets.prices.welfare import PriceCurve, price_curve
from energy_assets.prices.zones import ZoneConfig, load_zone


def price_file(
    net_load_path: Path,
    *,
    zone_path: Path | None,
    out_path: Path,
    report_path: Path | None,
    published_at_utc: datetime,
) -> list[PriceCurve]:
    """Price every local day of a net load file, write the curves and the account, and return the curves.

    Args:
        net_load_path: CSV or Parquet with starts_at_utc and q10, q50, q90, or energy_kwh; kWh per slot.
        zone_path: TOML of the zone; None for the defaults.
        out_path: Where the curves go: .csv, .parquet or .json.
        report_path: Where the account of each day goes, as JSON; None for nowhere.
        published_at_utc: Time that the curves bear.

    Raises:
        SourceError: a file cannot be read, or its name asks for an unknown format.
        ConfigError: the zone is not one.
        ContractError: a day of the file is not whole.
    """
    if out_path.suffix not in (".csv", ".parquet", ".json"):
        raise SourceError(f"Curves cannot be written to {out_path}: name it .csv, .parquet or .json.")
    zone = ZoneConfig() if zone_path is None else load_zone(zone_path)
    curves = price_days(read_net_load(net_load_path), zone=zone, published_at_utc=published_at_utc)
    _write(curves, out_path)
    if report_path is not None:
        report_path.write_text(json.dumps(report(curves, zone=zone), indent=2) + "\n", encoding="utf-8")
    return curves


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
    return with_utc(read_table(path, subject="Net load"), path=path, subject="Net load")


def report(curves: list[PriceCurve], *, zone: ZoneConfig) -> dict[str, object]:
    """Return the account of every day and the sums, JSON-ready."""
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
    }


def _write(curves: list[PriceCurve], path: Path) -> None:
    rows = pl.concat([curve.rows for curve in curves])
    if path.suffix == ".parquet":
        rows.write_parquet(path)
    elif path.suffix == ".csv":
        path.write_text(curve_csv(rows), encoding="utf-8")
    else:
        documents = [curve_document(curve.rows) for curve in curves]
        path.write_text(json.dumps({"curves": documents}, indent=2) + "\n", encoding="utf-8")

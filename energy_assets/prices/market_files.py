"""Wholesale prices, merit orders and extended curves for anybody's files, without an instance. Files in, files out."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl

from energy_assets.contracts.prices import PRICE_UNITS_PER_CURRENCY
from energy_assets.errors import SourceError
from energy_assets.prices.days import Floats
from energy_assets.prices.fitted_supply import SupplyHistory, fitted_blocks
from energy_assets.prices.horizon import extended_prices
from energy_assets.prices.market import market_days, read_market
from energy_assets.prices.times import read_timed
from energy_assets.prices.wholesale import WholesaleForecast, forecast_wholesale
from energy_assets.prices.zones import ZoneConfig

_CURVE = ("price_units", "interval_minutes")


def wholesale_file(
    market_path: Path, *, out_path: Path, days: int, timezone: str, country_codes: tuple[str, ...]
) -> WholesaleForecast:
    """Forecast the days after the last priced one of a market file, and write them with the newest published day.

    Raises:
        SourceError: a file cannot be read or written, or its history is too short.
    """
    market = market_days(read_market(market_path), timezone=timezone, country_codes=country_codes)
    last_day = market.days[market.known_days - 1] + timedelta(days=days)
    remembered: dict[date, Floats] = {}
    made = forecast_wholesale(market, timezone=timezone, last_day=last_day, remembered=remembered)
    names = {name: f"{name}_per_mwh" for name in ("q10", "q50", "q90")}
    write_table(made.slots.rename(names), path=out_path)
    return made


def supply_file(history_path: Path, *, out_path: Path, history: SupplyHistory) -> pl.DataFrame:
    """Learn a merit order from a history, write it as the `[[supply]]` tables of a zone file, and return its steps.

    Raises:
        SourceError: a file cannot be read or written.
        ConfigError: there are too few rows for the steps.
    """
    blocks = fitted_blocks(history.model_copy(update={"file": history_path.name}), folder=history_path.parent)
    lines = [f"# Learned from {history_path.name}: price by residual load, never falling."]
    for block in blocks:
        lines += ["", "[[supply]]", f'name = "{block.name}"', f"price = {block.price:.9g}"]
        if block.capacity_kw is not None:
            lines.append(f"capacity_kw = {block.capacity_kw:.9g}")
    _write_text(out_path, "\n".join(lines) + "\n")
    return pl.DataFrame([block.model_dump(include={"name", "price", "capacity_kw"}) for block in blocks])


def horizon_file(curve_path: Path, *, zone: ZoneConfig, days: int, out_path: Path) -> pl.DataFrame:
    """Extend a curve past its last day, each slot with the origin of its price, and write it.

    Args:
        curve_path: Curves as `energy price` writes them, CSV or Parquet; the more days, the better the profile.
        zone: The price zone.
        days: Local days after the last one of the curve.
        out_path: Where the slots go: .csv or .parquet.

    Raises:
        SourceError: a file cannot be read or written, or lacks a column.
    """
    curve = read_timed(curve_path, what="Curve", columns=(*_CURVE, "export_price_units", "revision"))
    if curve.is_empty():
        raise SourceError(f"Curve file {curve_path} has no rows; give one of `energy price`.")
    newest = curve.sort("starts_at_utc").row(-1, named=True)
    made = extended_prices(
        curve,
        net_load=curve.select("starts_at_utc").clear(),
        zone=zone,
        last_day=newest["starts_at_utc"].astimezone(zone.zoneinfo).date() + timedelta(days=days),
        interval_minutes=newest["interval_minutes"],
        published_at_utc=newest["starts_at_utc"],
    )
    write_table(made, path=out_path)
    return made


def priced_slots(path: Path) -> pl.DataFrame:
    """Return the slots of a curve file with price in currency/kWh; of a slot the last revision counts.

    Raises:
        SourceError: the file is no curve.
    """
    frame = read_timed(path, what="Curve", columns=_CURVE)
    if "revision" in frame.columns:
        frame = frame.sort("revision").group_by("starts_at_utc").last()
    return frame.sort("starts_at_utc").select(
        "starts_at_utc",
        "interval_minutes",
        "price_units",
        price_per_kwh=pl.col("price_units") / PRICE_UNITS_PER_CURRENCY,
    )


def write_table(frame: pl.DataFrame, *, path: Path) -> None:
    """Write a frame as .csv (times in ISO 8601 with Z) or .parquet.

    Raises:
        SourceError: the name has no known format, or the file cannot be written.
    """
    times = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)]
    if path.suffix == ".csv":
        text = frame.with_columns(pl.col(times).dt.strftime("%Y-%m-%dT%H:%M:%SZ")).write_csv()
        _write_text(path, text)
    elif path.suffix == ".parquet":
        try:
            frame.write_parquet(path)
        except OSError as error:
            raise SourceError(f"{path} cannot be written: {error}.") from error
    else:
        raise SourceError(f"Nothing is written to {path}: name it .csv or .parquet.")


def _write_text(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SourceError(f"{path} cannot be written: {error}.") from error

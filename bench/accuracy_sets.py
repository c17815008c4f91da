"""The real sets of `ENERGY_ASSETS_REAL_DATA` as frames of our contracts, for `accuracy.py`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl

from energy_assets.contracts import METERS, PREMISES, READINGS_INTERVAL, SITES, UTC_TIME

KWH_PER_KBTU = 0.2931
M2_PER_SQUARE_FOOT = 0.09290304


@dataclass(frozen=True, kw_only=True)
class RealSet:
    name: str
    readings: pl.DataFrame
    meters: pl.DataFrame
    premises: pl.DataFrame
    sites: pl.DataFrame
    observed: pl.DataFrame | None
    timezone: str
    test_share: float = 0.2


def _set(
    name: str,
    rows: pl.DataFrame,
    *,
    timezone: str,
    country: str | None,
    minutes: int = 60,
    commodity: str = "electricity",
    premises: pl.DataFrame | None = None,
    observed: pl.DataFrame | None = None,
    position: tuple[float, float] | None = None,
    subdivision: str | None = None,
) -> RealSet:
    """`rows`: series, starts_at_utc, energy_kwh."""
    rows = rows.with_columns(pl.col("series").cast(pl.String), pl.col("starts_at_utc").cast(UTC_TIME))
    meter = pl.format("{}.{}.{}", pl.lit(name), "series", pl.lit(commodity))
    readings = rows.select(
        meter_id=meter,
        starts_at_utc="starts_at_utc",
        interval_minutes=minutes,
        reported_kwh=pl.col("energy_kwh").cast(pl.Float64),
        energy_kwh=pl.col("energy_kwh").cast(pl.Float64),
        quality=pl.when(pl.col("energy_kwh").is_null()).then(pl.lit("missing")).otherwise(pl.lit("measured")),
        available_at_utc=pl.col("starts_at_utc") + timedelta(minutes=minutes),
    )
    series = rows.select("series").unique().sort("series")
    meters = series.select(
        meter_id=meter,
        premise_id=pl.format("{}.{}", pl.lit(name), "series"),
        site_id=pl.lit(name),
        commodity=pl.lit(commodity),
        direction=pl.lit("consumption"),
        measure=pl.lit("interval_energy"),
        unit=pl.lit("kWh"),
        interval_minutes=minutes,
        source=pl.lit(name),
    )
    about = series.select(
        premise_id=pl.format("{}.{}", pl.lit(name), "series"), site_id=pl.lit(name), source=pl.lit(name)
    )
    if premises is not None:
        described = premises.with_columns(premise_id=pl.format("{}.{}", pl.lit(name), pl.col("series").cast(pl.String)))
        about = about.join(described.drop("series"), on="premise_id", how="left")
    latitude, longitude = position or (None, None)
    site = {
        "site_id": [name],
        "name": [name],
        "timezone": [timezone],
        "latitude": [latitude],
        "longitude": [longitude],
        "country_code": [country],
        "subdivision_code": [subdivision],
        "source": [name],
    }
    if observed is not None:
        observed = observed.with_columns(pl.lit(name).alias("site_id"), pl.col("starts_at_utc").cast(UTC_TIME))
    return RealSet(
        name=name,
        readings=READINGS_INTERVAL.conform(readings),
        meters=METERS.conform(meters),
        premises=PREMISES.conform(about),
        sites=SITES.conform(pl.DataFrame(site)),
        observed=observed,
        timezone=timezone,
    )


def _named(name: str, *, minutes: int) -> str:
    return name if minutes == 60 else f"{name}_{minutes}min"


def _without_zero_runs(rows: pl.DataFrame) -> pl.DataFrame:
    """Runs of three or more zeros are missing data in the Cambridge archive."""
    zero = pl.col("energy_kwh") == 0
    run = zero.rle_id().over("series")
    return (
        rows.sort("series", "starts_at_utc")
        .with_columns(run=run)
        .with_columns(length=pl.len().over("series", "run"))
        .with_columns(energy_kwh=pl.when(zero & (pl.col("length") >= 3)).then(None).otherwise("energy_kwh"))
        .select("series", "starts_at_utc", "energy_kwh")
    )


def _cambridge_weather(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "cambridge_dev_weather_carbon.parquet").select(
        starts_at_utc="ts_utc",
        temperature_c="temp_c",
        relative_humidity_fraction=pl.col("rh_pct") / 100,
        global_horizontal_irradiance_w_m2="ghi_wm2",
    )


def cambridge(folder: Path, *, meter: str = "electricity", is_portfolio: bool = False) -> RealSet:
    rows = pl.read_parquet(folder / "cambridge_dev_meters.parquet").filter(meter=meter)
    rows = rows.select(series="building_id", starts_at_utc="ts_utc", energy_kwh=pl.col("kwh").cast(pl.Float64))
    if meter == "gas":
        share = rows.group_by("series").agg(zeros=(pl.col("energy_kwh") == 0).mean())
        rows = rows.join(share.filter(pl.col("zeros") < 0.1), on="series", how="semi")
    rows = rows.sort("series", "starts_at_utc") if meter == "gas" else _without_zero_runs(rows)
    premises = pl.read_parquet(folder / "cambridge_dev_buildings.parquet").select(
        series="building_id", floor_area_m2="floor_area_m2", floor_count="floors", primary_use=pl.lit("Education")
    )
    name = f"cambridge_{meter}"
    if is_portfolio:
        name, premises = "cambridge_portfolio", None
        filled = rows.with_columns(pl.col("energy_kwh").fill_null(strategy="forward").over("series"))
        rows = filled.group_by("starts_at_utc").agg(pl.col("energy_kwh").sum()).with_columns(series=pl.lit("all"))
    return _set(
        name,
        rows,
        timezone="Europe/London",
        country="GB",
        subdivision="ENG",
        commodity=meter,
        premises=premises,
        observed=_cambridge_weather(folder),
        position=(52.2, 0.12),
    )


def ashrae(folder: Path) -> RealSet:
    rows = pl.read_parquet(folder / "ashrae_elec_2016.parquet").select(
        series="building_id",
        # The clocks are local and naive; one clock for all four sites keeps every day at 24 h, as the figures assume.
        starts_at_utc="ts_local",
        energy_kwh=pl.col("meter_reading") * pl.when(pl.col("building_id") < 105).then(KWH_PER_KBTU).otherwise(1.0),
    )
    premises = pl.read_parquet(folder / "ashrae_building_metadata.parquet").select(
        series="building_id", primary_use="primary_use", floor_area_m2=pl.col("square_feet") * M2_PER_SQUARE_FOOT
    )
    return _set("ashrae_elec_2016", rows, timezone="UTC", country="US", premises=premises)


def vic(folder: Path, *, minutes: int = 60) -> RealSet:
    rows = pl.read_parquet(folder / "vic_elec_half_hourly.parquet").sort("ts_utc")
    hourly = rows.group_by_dynamic("ts_utc", every="1h").agg(pl.col("temp_c").mean())
    summed = rows.group_by_dynamic("ts_utc", every=f"{minutes}m").agg(pl.col("demand_mwh_per_half_hour").sum() * 1000)
    return _set(
        _named("vic_elec", minutes=minutes),
        summed.select(series=pl.lit("vic"), starts_at_utc="ts_utc", energy_kwh="demand_mwh_per_half_hour"),
        timezone="Australia/Melbourne",
        country="AU",
        subdivision="VIC",
        minutes=minutes,
        observed=hourly.select(starts_at_utc="ts_utc", temperature_c="temp_c"),
        position=(-37.8, 145.0),
    )


def sacramento(folder: Path, *, is_school: bool, minutes: int = 60) -> RealSet:
    rows = pl.read_parquet(folder / "sacramento_15min_meters.parquet")
    rows = rows.filter(
        pl.col("kind").str.starts_with("school") if is_school else ~pl.col("kind").str.starts_with("school")
    )
    summed = (
        rows.sort("meter", "ts_utc")
        .group_by_dynamic("ts_utc", every=f"{minutes}m", group_by="meter")
        .agg(energy_kwh=pl.col("kw").cast(pl.Float64).mean() * minutes / 60)
    )
    temperature = (
        pl.read_parquet(folder / "sacramento_15min_temperature.parquet")
        .sort("ts_utc")
        .group_by_dynamic("ts_utc", every="1h")
        .agg(temperature_c=(pl.col("temp_f").mean() - 32) / 1.8)
        .rename({"ts_utc": "starts_at_utc"})
    )
    return _set(
        _named(f"sacramento_{'school' if is_school else 'office'}", minutes=minutes),
        summed.select(series="meter", starts_at_utc="ts_utc", energy_kwh="energy_kwh"),
        timezone="America/Los_Angeles",
        country="US",
        subdivision="CA",
        minutes=minutes,
        observed=temperature,
        position=(38.6, -121.5),
    )


def openstef(folder: Path, *, minutes: int = 60) -> RealSet:
    """Net load of a substation; it feeds in at times, so values may be negative."""
    rows = pl.read_parquet(folder / "openstef_pid307_15min.parquet").sort("ts_utc")
    hourly = rows.group_by_dynamic("ts_utc", every="1h").agg(
        pl.col("temp", "clouds", "humidity", "windspeed").mean(), pl.col("radiation").mean() / 3600
    )
    load = rows.group_by_dynamic("ts_utc", every=f"{minutes}m").agg(pl.col("load_mw").mean() * 1000 * (minutes / 60))
    return _set(
        _named("openstef_307", minutes=minutes),
        load.select(series=pl.lit("307"), starts_at_utc="ts_utc", energy_kwh="load_mw"),
        timezone="Europe/Amsterdam",
        country="NL",
        minutes=minutes,
        observed=hourly.select(
            starts_at_utc="ts_utc",
            temperature_c="temp",
            cloud_cover_fraction=pl.col("clouds") / 100,
            relative_humidity_fraction=pl.col("humidity") / 100,
            wind_speed_ms="windspeed",
            global_horizontal_irradiance_w_m2="radiation",
        ),
        position=(52.1, 5.3),
    )


def citylearn_homes(folder: Path) -> RealSet:
    rows = pl.read_parquet(folder / "citylearn_2022_homes_1_5.parquet")
    return _set(
        "citylearn22_homes",
        rows.select(series="building_id", starts_at_utc="ts_local_std", energy_kwh="load_kwh"),
        timezone="UTC",
        country="US",
    )


def citylearn_simulated(folder: Path) -> RealSet:
    rows = pl.read_parquet(folder / "citylearn_tx_sim_homes.parquet")
    sky = pl.read_parquet(folder / "citylearn_tx_sim_weather.parquet").select(
        starts_at_utc="ts_local_std",
        temperature_c="temp_c",
        relative_humidity_fraction=pl.col("rh_pct") / 100,
        direct_normal_irradiance_w_m2="dni_wm2",
        diffuse_horizontal_irradiance_w_m2="dhi_wm2",
        global_horizontal_irradiance_w_m2=pl.col("dhi_wm2") + 0.5 * pl.col("dni_wm2"),
    )
    return _set(
        "citylearn_tx_sim",
        rows.select(series="building_id", starts_at_utc="ts_local_std", energy_kwh="non_shiftable_load"),
        timezone="UTC",
        country="US",
        observed=sky,
    )


def nord_pool(folder: Path) -> RealSet:
    """The day-ahead forecast of Nord Pool's load, taken for a load; its clock is local, naive, 24 hours every day."""
    rows = pl.read_parquet(folder / "epf_np.parquet").select(
        series=pl.lit("np"), starts_at_utc="ts_local", energy_kwh=pl.col("load_forecast") * 1000
    )
    return _set("nord_pool", rows, timezone="UTC", country="NO")


def two_buildings(folder: Path) -> RealSet:
    """Nine months of two buildings of the Building Data Genome; of their clocks no more is known than local."""
    rows = pl.read_parquet(folder / "bdg2_sample_hourly.parquet").select(
        series="building_id", starts_at_utc="ts_local", energy_kwh="kwh"
    )
    return _set("two_buildings", rows, timezone="UTC", country="US")


SETS = {
    "cambridge_electricity": cambridge,
    "ashrae": ashrae,
    "cambridge_gas": lambda folder: cambridge(folder, meter="gas"),
    "cambridge_portfolio": lambda folder: cambridge(folder, is_portfolio=True),
    "sacramento_office": lambda folder: sacramento(folder, is_school=False),
    "sacramento_school": lambda folder: sacramento(folder, is_school=True),
    "sacramento_office_15min": lambda folder: sacramento(folder, is_school=False, minutes=15),
    "vic_elec": vic,
    "openstef_307": openstef,
    "citylearn22_homes": citylearn_homes,
    "citylearn_tx_sim": citylearn_simulated,
}

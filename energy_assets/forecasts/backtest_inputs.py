"""A person's files of readings, meters and weather as frames of our contracts, for `energy backtest`.

Little is asked for and the rest has defaults; what was assumed or left out is told in `notes`, and what cannot be right
stops with the file, the place and the remedy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from energy_assets.contracts import METERS, PREMISES, SITES, UTC_TIME
from energy_assets.contracts.metering import COMMODITIES, DIRECTIONS
from energy_assets.errors import SourceError
from energy_assets.features.closures import read_closures, spans_of
from energy_assets.forecasts.backtest_weather import Weather, read_weather
from energy_assets.forecasts.spikes import without_spikes
from energy_assets.readings.own_files import numbers, read_table, refuse, texts, utc_times

SOURCE = "file"
LARGEST_KWH = 1e9
"""A country draws up to 1e9 kWh in an hour; what is beyond it was written in another unit."""
_TEXTS = (
    *("site_id", "premise_id", "timezone", "country_code", "subdivision_code", "commodity", "direction"),
    "primary_use",
)
_ROOF = ("pv_tilt_deg", "pv_azimuth_deg")
_NUMBERS = (
    *("latitude", "longitude", "interval_minutes", "floor_area_m2", "year_built", "annual_kwh_hint"),
    *_ROOF,
)
_SYNONYMS = {
    "commodity": {
        **dict.fromkeys(("electric", "power", "electrical"), "electricity"),
        **dict.fromkeys(("heat", "heating", "district_heating", "hotwater"), "hot_water"),
        **dict.fromkeys(("chilledwater", "cooling", "district_cooling"), "chilled_water"),
        "natural_gas": "gas",
    },
    "direction": {
        **dict.fromkeys(("load", "demand"), "consumption"),
        **dict.fromkeys(("generation", "pv", "solar"), "production"),
        **dict.fromkeys(("net", "net_load", "import"), "grid_import"),
        **dict.fromkeys(("export", "feed_in"), "grid_export"),
    },
}
"""What files call our commodities and directions; net load is drawn from the grid, below zero where it is fed in."""
_OFFSET = r":\d\d(\.\d+)?\s*([zZ]|[+-]\d\d(:?\d\d)?)\s*$"
_PLACE = ("timezone", "country_code", "subdivision_code", "latitude", "longitude")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Frames of the contracts, and in `notes` what was assumed or left out, one sentence each.

    `readings` has the columns of `readings.interval` that features read, sorted by time; missing energies have no row.
    `actual` has meter_id, starts_at_utc, energy_kwh as they came, which is what forecasts are compared with.
    """

    readings: pl.DataFrame
    actual: pl.DataFrame
    meters: pl.DataFrame
    premises: pl.DataFrame
    sites: pl.DataFrame
    weather: Weather | None
    closures: pl.DataFrame | None
    notes: tuple[str, ...]


def read_inputs(
    readings_path: Path,
    *,
    weather_path: Path | None = None,
    meters_path: Path | None = None,
    calendar_folder: Path | None = None,
    timezone: str = "UTC",
    country_code: str | None = None,
) -> Inputs:
    """Return what the files hold.

    Args:
        readings_path: CSV or Parquet with meter_id, starts_at_utc, energy_kwh (empty = missing), and optionally
            available_at_utc, when the reading came in; the end of its interval where that is not given.
        weather_path: see `backtest_weather.read_weather`.
        meters_path: meter_id and any of site_id, premise_id, timezone, country_code, subdivision_code, latitude,
            longitude, commodity, direction, interval_minutes, primary_use, floor_area_m2, year_built, annual_kwh_hint,
            pv_tilt_deg, pv_azimuth_deg (from north by east).
        calendar_folder: of files of school holidays and closures, see `features.closures.read_closures`.
        timezone: IANA zone of meters that do not say theirs.
        country_code: ISO 3166-1 code likewise, for holidays.

    Raises:
        SourceError: a file cannot be read or contradicts itself.
    """
    notes: list[str] = []
    readings = _readings(readings_path, notes)
    declared = None if meters_path is None else _declared(meters_path, notes)
    weather = None if weather_path is None else read_weather(weather_path, notes=notes)
    described = _described(readings, declared, notes=notes)
    _tell_defaults(described, timezone=timezone, country_code=country_code, notes=notes)
    described = described.with_columns(
        pl.col("timezone").fill_null(timezone),
        pl.coalesce("country_code", pl.lit(country_code, pl.String)).str.to_uppercase(),
    )
    described = _with_sites(_with_cadence(described, readings, place=f"Readings file {readings_path}"), weather)
    described = _with_known_countries(described, notes)
    if weather is None:
        notes.append("no weather is given; every forecast is made without it")
    sites = _sites(described, place=f"Meters file {meters_path}" if meters_path else "--timezone")
    if weather is not None:
        weather = _placed(weather, sites=sites, path=str(weather_path), notes=notes)
    closures = None if calendar_folder is None else _closures(calendar_folder, sites=sites, notes=notes)
    rows = _interval_rows(readings, described, place=f"Readings file {readings_path}")
    believed = without_spikes(rows)
    if believed.height < rows.height:
        notes.append(
            f"{rows.height - believed.height:,} readings are a hundred times their meter's usual peak; nothing is "
            f"learned from them, but forecasts are compared with them"
        )
    return Inputs(
        readings=believed,
        actual=rows.select("meter_id", "starts_at_utc", "energy_kwh"),
        meters=_meters(described),
        premises=_premises(described),
        sites=sites,
        weather=weather,
        closures=closures,
        notes=tuple(notes),
    )


def _readings(path: Path, notes: list[str]) -> pl.DataFrame:
    place = f"Readings file {path}"
    rows = read_table(path, what="Readings", columns=("meter_id", "starts_at_utc", "energy_kwh"))
    if _is_local_or_utc(rows["starts_at_utc"]):
        notes.append("the times of the readings have no offset and are taken as UTC")
    meter, energy = texts(rows, "meter_id"), numbers(rows, "energy_kwh", place=place)
    refuse(meter.is_null(), shown=rows["starts_at_utc"].cast(pl.String), place=place, fault="meter_id is empty")
    refuse(
        energy.abs().fill_null(0) > LARGEST_KWH,
        shown=energy,
        place=place,
        fault=f"energy_kwh is beyond {LARGEST_KWH:g} kWh in one interval; check its unit",
    )
    known = pl.DataFrame([meter, utc_times(rows, "starts_at_utc", place=place), energy])
    if "available_at_utc" in rows.columns:
        known = known.with_columns(utc_times(rows, "available_at_utc", place=place))
    distinct = known.unique(maintain_order=True)
    if distinct.height < known.height:
        notes.append(
            f"{known.height - distinct.height:,} readings stand in the file more than once; one of each is used"
        )
    # A gap that is written beside the value of the same slot takes nothing away from it.
    key = ["meter_id", "starts_at_utc"]
    told = distinct.filter(pl.col("energy_kwh").is_not_null() | (pl.len().over(key) == 1))
    twice = told.filter(pl.struct(key).is_duplicated())
    if twice.height:
        first = twice.row(0, named=True)
        raise SourceError(
            f"{place}: meter {first['meter_id']} has different readings at {first['starts_at_utc']:%Y-%m-%d %H:%M} UTC "
            f"({twice.select(key).n_unique():,} slots are like that); keep one each. Local clocks repeat an hour in "
            f"autumn: write times in UTC."
        )
    if not told["energy_kwh"].count():
        raise SourceError(f"{place} has no row with an energy_kwh; there is nothing to learn from or to compare with.")
    return told.unique(key, keep="any").sort("starts_at_utc", "meter_id")


def _is_local_or_utc(times: pl.Series) -> bool:
    """Return whether times do not say which: none has an offset."""
    if isinstance(times.dtype, pl.Datetime):
        return times.dtype.time_zone is None
    return times.dtype == pl.String and not times.drop_nulls().head(1000).str.contains(_OFFSET).any()


def _declared(path: Path, notes: list[str]) -> pl.DataFrame:
    place = f"Meters file {path}"
    rows = read_table(path, what="Meters", columns=("meter_id",))
    if unused := [name for name in rows.columns if name not in {"meter_id", *_TEXTS, *_NUMBERS}]:
        notes.append(f"columns of the meters file that nothing is learned from: {', '.join(unused)}")
    columns = [texts(rows, name) for name in ("meter_id", *_TEXTS) if name in rows.columns]
    columns += [numbers(rows, name, place=place) for name in _NUMBERS if name in rows.columns]
    meters = pl.DataFrame(columns)
    refuse(meters["meter_id"].is_null(), shown=meters["meter_id"], place=place, fault="meter_id is empty")
    refuse(
        meters["meter_id"].is_duplicated(),
        shown=meters["meter_id"],
        place=place,
        fault="the meter is declared more than once; keep one row a meter",
    )
    for name, allowed in (("commodity", COMMODITIES), ("direction", DIRECTIONS)):
        if name in meters.columns:
            written = meters[name].str.to_lowercase().str.replace_all(r"[\s-]+", "_")
            known = written.replace(_SYNONYMS[name])
            fault = f"{name} must be one of {', '.join(allowed)}"
            refuse(~known.is_in(allowed).fill_null(value=True), shown=meters[name], place=place, fault=fault)
            meters = meters.with_columns(known)
            meant = {each: _SYNONYMS[name][each] for each in written.unique().sort() if each in _SYNONYMS[name]}
            notes += [f"{name} {each} is taken as {ours}" for each, ours in meant.items()]
    for name, limit in (("latitude", 90), ("longitude", 180), ("pv_tilt_deg", 90), ("pv_azimuth_deg", 360)):
        if name in meters.columns:
            fault = f"{name} is not within {-limit} and {limit} degrees"
            refuse(meters[name].abs().fill_null(0) > limit, shown=meters[name], place=place, fault=fault)
    return meters


def _described(readings: pl.DataFrame, declared: pl.DataFrame | None, *, notes: list[str]) -> pl.DataFrame:
    """Return one row per meter with readings, and every column that a meters file may have, null where unknown."""
    found = readings.select("meter_id").unique().sort("meter_id")
    if declared is not None:
        without = declared.join(found, on="meter_id", how="anti").height
        if without == declared.height:
            raise SourceError(
                f"None of the {declared.height:,} meters of the meters file has readings (it declares "
                f"{declared['meter_id'][0]!r}, the readings {found['meter_id'][0]!r}); write meter_id alike in both."
            )
        unknown = found.join(declared, on="meter_id", how="anti")
        if without:
            notes.append(f"{without:,} declared meters have no readings and are left out")
        if unknown.height:
            notes.append(f"{unknown.height:,} meters (first {unknown['meter_id'][0]}) are not declared; defaults serve")
        found = found.join(declared, on="meter_id", how="left", validate="1:1", maintain_order="left")
    absent = [pl.lit(None, pl.String).alias(name) for name in _TEXTS if name not in found.columns]
    absent += [pl.lit(None, pl.Float64).alias(name) for name in _NUMBERS if name not in found.columns]
    return found.with_columns(absent).with_columns(
        pl.col("commodity").fill_null("electricity"), pl.col("direction").fill_null("consumption")
    )


def _tell_defaults(described: pl.DataFrame, *, timezone: str, country_code: str | None, notes: list[str]) -> None:
    """Say whose days and holidays were assumed: both cost accuracy where they are others."""
    count, zones = described.height, described["timezone"].null_count()
    if zones:
        notes.append(f"{zones:,} of {count:,} meters do not say their timezone; their days are those of {timezone}")
    if country_code is None and (countries := described["country_code"].null_count()):
        notes.append(f"{countries:,} of {count:,} meters have no country_code; no public holidays are known for them")


def _with_sites(described: pl.DataFrame, weather: Weather | None) -> pl.DataFrame:
    """Fill site_id: the one site of the weather, else one site for each clock and position; one premise a meter."""
    only = weather.only_site if weather is not None else None
    made = pl.concat_str(*(pl.col(name).cast(pl.String).fill_null("") for name in _PLACE), separator="|")
    label = pl.lit(only) if only is not None else pl.format("site-{}", made.rank("dense"))
    return described.with_columns(
        pl.col("site_id").fill_null(label), pl.col("premise_id").fill_null(pl.col("meter_id"))
    )


def _with_cadence(described: pl.DataFrame, readings: pl.DataFrame, *, place: str) -> pl.DataFrame:
    """Fill interval_minutes with the commonest step of the meter, else of all meters, else an hour."""
    steps = readings.sort("meter_id", "starts_at_utc").select(
        "meter_id", minutes=pl.col("starts_at_utc").diff().over("meter_id").dt.total_minutes()
    )
    steps = steps.filter(pl.col("minutes") > 0)
    usual = steps.group_by("meter_id").agg(_usual=pl.col("minutes").mode().min())
    common = steps["minutes"].mode().min() or 60
    filled = described.join(usual, on="meter_id", how="left", maintain_order="left").with_columns(
        interval_minutes=pl.coalesce("interval_minutes", "_usual", pl.lit(common)).cast(pl.Int64)
    )
    whole = pl.col("interval_minutes").is_between(1, 60) & (60 % pl.col("interval_minutes").clip(1) == 0)
    odd = filled.filter(~whole)
    if odd.height:
        raise SourceError(
            f"{place}: meter {odd['meter_id'][0]} has readings every {odd['interval_minutes'][0]} minutes; forecasts "
            f"need intervals that divide an hour. Declare interval_minutes in a meters file, or resample the readings."
        )
    return filled.drop("_usual")


def _sites(described: pl.DataFrame, *, place: str) -> pl.DataFrame:
    for name in ("timezone", "country_code"):
        several = described.group_by("site_id").agg(pl.col(name).drop_nulls().unique().sort()).sort("site_id")
        several = several.filter(pl.col(name).list.len() > 1)
        if several.height:
            raise SourceError(
                f"{place}: site {several['site_id'][0]} has meters of several values of {name}: "
                f"{', '.join(several[name][0])}. Give each its own site_id."
            )
    _check_zones(described["timezone"].unique().sort(), place=place)
    rows = described.group_by("site_id").agg(
        pl.col("timezone", "country_code", "subdivision_code").drop_nulls().first(),
        pl.col("latitude", "longitude").mean(),
    )
    return SITES.conform(rows.with_columns(name=pl.col("site_id"), source=pl.lit(SOURCE)).sort("site_id"))


def _with_known_countries(described: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """Return meters with null for countries of which no holidays are known; that is no reason to stop."""
    import holidays

    supported = list(holidays.list_supported_countries())
    unknown = described.filter(~pl.col("country_code").is_in(supported))["country_code"].unique().sort()
    if unknown.len():
        notes.append(
            f"no public holidays are known for {', '.join(unknown)}; write country_code as in ISO 3166-1, like DE"
        )
    known = pl.when(pl.col("country_code").is_in(supported)).then("country_code")
    return described.with_columns(country_code=known)


def _check_zones(zones: pl.Series, *, place: str) -> None:
    from zoneinfo import available_timezones

    unknown = sorted(set(zones) - available_timezones())
    if unknown:
        raise SourceError(f"{place}: {unknown[0]!r} is no time zone; use an IANA name such as Europe/Vienna.")


def _closures(folder: Path, *, sites: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """Return the school holidays and closures of the folder's files, and note where none of them holds."""
    if not folder.is_dir():
        raise SourceError(f"{folder} is no folder; --calendar takes a folder of .csv files, as docs/forecasts.md says.")
    closures = read_closures(folder)
    names = ("site_id", "country_code", "subdivision_code")
    without = [row["site_id"] for row in sites.select(names).to_dicts() if not spans_of(closures, **row)]
    if without:
        notes.append(f"no calendar file holds at {len(without)} of {sites.height} sites (first {without[0]})")
    return closures


def _placed(weather: Weather, *, sites: pl.DataFrame, path: str, notes: list[str]) -> Weather:
    """Return the weather of the sites; one without site_id serves them all."""
    spread = weather.at(sites["site_id"])
    covered = spread.sites()
    if not covered:
        raise SourceError(
            f"Weather file {path} is of the sites {', '.join(sorted(weather.sites())[:5])}; the meters are at "
            f"{', '.join(sites['site_id'].head(5))}. Give the meters the same site_id in a meters file."
        )
    without = sites.filter(~pl.col("site_id").is_in(sorted(covered)))
    if without.height:
        notes.append(f"{without.height} of {sites.height} sites (first {without['site_id'][0]}) have no weather")
    return spread


def _interval_rows(readings: pl.DataFrame, described: pl.DataFrame, *, place: str) -> pl.DataFrame:
    rows = readings.filter(pl.col("energy_kwh").is_not_null()).join(
        described.select("meter_id", "interval_minutes"), on="meter_id", how="left", maintain_order="left"
    )
    minutes = pl.col("starts_at_utc").dt.epoch("us") / 60_000_000
    off = rows.filter(minutes % pl.col("interval_minutes") != 0)
    if off.height:
        first = off.row(0, named=True)
        raise SourceError(
            f"{place}: meter {first['meter_id']} has intervals of {first['interval_minutes']} minutes, yet a reading "
            f"at {first['starts_at_utc']:%Y-%m-%d %H:%M:%S} UTC, and {off.height:,} like that in all. starts_at_utc is "
            f"the start of the interval: round it, or declare interval_minutes in a meters file."
        )
    ends = pl.col("starts_at_utc") + pl.duration(minutes="interval_minutes")
    known_at = pl.max_horizontal("available_at_utc", ends) if "available_at_utc" in rows.columns else ends
    return rows.select(
        "meter_id",
        "starts_at_utc",
        "interval_minutes",
        "energy_kwh",
        available_at_utc=known_at.cast(UTC_TIME),
    )


def _meters(described: pl.DataFrame) -> pl.DataFrame:
    columns = ("meter_id", "premise_id", "site_id", "commodity", "direction", "interval_minutes")
    rows = described.select(*columns, measure=pl.lit("interval_energy"), unit=pl.lit("kWh"), source=pl.lit(SOURCE))
    return METERS.conform(rows)


def _premises(described: pl.DataFrame) -> pl.DataFrame:
    about = [pl.col(name).drop_nulls().first() for name in ("primary_use", "floor_area_m2", "year_built", *_ROOF)]
    rows = described.group_by("premise_id").agg(
        pl.col("site_id").first(), *about, pl.col("annual_kwh_hint").drop_nulls().first()
    )
    rows = rows.with_columns(pl.col("year_built").round().cast(pl.Int64), source=pl.lit(SOURCE))
    return PREMISES.conform(rows.sort("premise_id"))

"""Anybody's weather file by a declared mapping: which columns hold what, in which units, on which clock.

The whole format of the mapping, a TOML file:

    [time]
    column = "timestamp"                 # start of the interval
    zone = "Europe/London"               # default UTC
    format = "%d/%m/%Y %H:%M"            # default: ISO 8601 or Parquet time stamps

    [site]
    id = "cambridge.main"                # one site for all rows, or
    column = "station"                   # a column; {source}. is put before its values
    [site.rename]                        # a value of the column -> the site id to use
    "EGSC" = "cambridge.main"

    [quantities.temperature_c]           # a quantity of weather.observed
    column = "temp"
    unit = "degF"                        # see UNITS

    [forecast]                           # only of forecasts: the column with the time of issue, on UTC
    issued_column = "issued_at"

Cadences finer than an hour become hours: means, sums of precipitation, and the mean direction of the wind.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from zoneinfo import available_timezones

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from energy_assets.contracts import UTC_TIME, WEATHER_QUANTITIES
from energy_assets.errors import ConfigError, SourceError

UNITS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "_c": {"degC": (1, 0), "degF": (5 / 9, -160 / 9), "K": (1, -273.15)},
    "_fraction": {"fraction": (1, 0), "percent": (0.01, 0), "oktas": (0.125, 0)},
    "_ms": {"m/s": (1, 0), "km/h": (1 / 3.6, 0), "mph": (0.44704, 0), "kn": (1852 / 3600, 0)},
    "_deg": {"deg": (1, 0)},
    "_mm": {"mm": (1, 0), "in": (25.4, 0), "m": (1000, 0)},
    "_m": {"m": (1, 0), "cm": (0.01, 0), "in": (0.0254, 0)},
    "_hpa": {"hPa": (1, 0), "Pa": (0.01, 0), "kPa": (10, 0), "inHg": (33.86389, 0), "mmHg": (1.333224, 0)},
    "_w_m2": {"W/m2": (1, 0), "kW/m2": (1000, 0), "J/m2 per hour": (1 / 3600, 0), "Wh/m2 per hour": (1, 0)},
}
"""Units by the ending of a quantity's name: factor and summand that turn a value into ours."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Time(_Part):
    column: str
    zone: str = "UTC"
    format: str | None = None


class _Site(_Part):
    id: str | None = None
    column: str | None = None
    rename: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_of_two(self) -> _Site:
        if (self.id is None) == (self.column is None):
            raise ValueError("give either id or column")
        return self


class _Quantity(_Part):
    column: str
    unit: str


class _Forecast(_Part):
    issued_column: str


class WeatherMapping(_Part):
    """What a weather file's columns mean; see the module for its format."""

    time: _Time
    site: _Site
    quantities: dict[str, _Quantity]
    forecast: _Forecast | None = None

    @model_validator(mode="after")
    def _known(self) -> WeatherMapping:
        if self.time.zone not in available_timezones():
            raise ValueError(f"time.zone {self.time.zone!r} is no IANA zone")
        for name, quantity in self.quantities.items():
            if name not in WEATHER_QUANTITIES:
                raise ValueError(f"quantity {name!r} is unknown; choose from {', '.join(WEATHER_QUANTITIES)}")
            if quantity.unit not in units_of(name):
                raise ValueError(f"{name} cannot be in {quantity.unit!r}; choose from {', '.join(units_of(name))}")
        return self


def units_of(quantity: str) -> Mapping[str, tuple[float, float]]:
    """Return the units that a quantity may come in."""
    return UNITS[max((ending for ending in UNITS if quantity.endswith(ending)), key=len)]


def load_weather_mapping(path: Path) -> WeatherMapping:
    """Return the mapping in a TOML file.

    Raises:
        ConfigError: the file is missing or wrong; the message names the key.
    """
    try:
        return WeatherMapping.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path}, the mapping of a weather file, cannot be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is no TOML: {error}.") from error
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        raise ConfigError(f"{path}{': ' + key if key else ''}: {fault['msg']}.") from error


def read_mapped(path: Path, mapping: WeatherMapping, *, source: str) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return hourly rows (site_id, issued_at_utc of forecasts, starts_at_utc, quantities), and refused rows by reason.

    Raises:
        SourceError: the file is missing, not readable, or lacks a column of the mapping.
    """
    table = _table(path)
    wanted = [mapping.time.column, *(each.column for each in mapping.quantities.values())]
    wanted += [mapping.site.column] if mapping.site.column else []
    wanted += [mapping.forecast.issued_column] if mapping.forecast else []
    missing = sorted(set(wanted) - set(table.columns))
    if missing:
        raise SourceError(
            f"{path} lacks the columns {', '.join(missing)} that its mapping names; it has {', '.join(table.columns)}."
        )
    rows = table.select(
        site_id=_site(mapping.site, source=source),
        starts_at_utc=_instant(table, mapping.time.column, zone=mapping.time.zone, form=mapping.time.format),
        **({"issued_at_utc": _instant(table, mapping.forecast.issued_column)} if mapping.forecast else {}),
        **{name: _value(each, units_of(name)) for name, each in mapping.quantities.items()},
    )
    key = ["site_id", *(["issued_at_utc"] if mapping.forecast else []), "starts_at_utc"]
    timed = rows.drop_nulls(key)
    once = timed.unique(key, keep="first", maintain_order=True)
    counts = {"unreadable_time": rows.height - timed.height, "duplicate": timed.height - once.height}
    return _hourly(once, key=key), {reason: count for reason, count in counts.items() if count}


def _table(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        return pl.read_csv(path, infer_schema=False, truncate_ragged_lines=True)
    except FileNotFoundError as error:
        raise SourceError(f"{path} does not exist. Check the path of the weather file.") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(f"{path} cannot be read: {error}. Export it again.") from error


def _site(site: _Site, *, source: str) -> pl.Expr:
    if site.column is None:
        return pl.lit(site.id)
    code = pl.col(site.column).cast(pl.String).str.strip_chars()
    return code.replace_strict(site.rename, default=pl.lit(f"{source}.") + code, return_dtype=pl.String)


def _instant(table: pl.DataFrame, column: str, *, zone: str = "UTC", form: str | None = None) -> pl.Expr:
    """Return a column as instants; null where it cannot be read, or where the clock skips or repeats it."""
    stamp = pl.col(column)
    dtype = table.schema[column]
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        return stamp.cast(UTC_TIME)
    if dtype == pl.String:
        text = stamp.str.strip_chars()
        plain = text.str.replace("T", " ", literal=True).str.strip_suffix("Z").str.strip_suffix("+00:00")
        forms = [form] if form else ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d"]
        stamp = pl.coalesce((text if form else plain).str.to_datetime(each, strict=False) for each in forms)
    local = stamp.cast(pl.Datetime("us")).dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    return local.dt.convert_time_zone("UTC").cast(UTC_TIME)


def _value(quantity: _Quantity, units: Mapping[str, tuple[float, float]]) -> pl.Expr:
    factor, summand = units[quantity.unit]
    return pl.col(quantity.column).cast(pl.Float64, strict=False) * factor + summand


def _hourly(rows: pl.DataFrame, *, key: list[str]) -> pl.DataFrame:
    hour = pl.col("starts_at_utc").dt.truncate("1h")
    means = [name for name in WEATHER_QUANTITIES if name in rows.columns]
    how: dict[str, pl.Expr] = {name: pl.col(name).mean() for name in means}
    if "precipitation_mm" in how:
        fallen = pl.col("precipitation_mm")
        how["precipitation_mm"] = pl.when(fallen.count() > 0).then(fallen.sum())
    if "wind_direction_deg" in how:
        angle = pl.col("wind_direction_deg") * math.pi / 180
        how["wind_direction_deg"] = (
            pl.when(angle.count() > 0)
            .then(pl.arctan2(angle.sin().mean(), angle.cos().mean()) * 180 / math.pi)
            .mod(pl.lit(360.0))
        )  # fmt: skip
    others = [name for name in key if name != "starts_at_utc"]
    return rows.group_by(*others, starts_at_utc=hour, maintain_order=True).agg(**how).sort(key)

"""The one frozen `Settings`, and the only place that reads the environment. Defaults run as they are.

A variable goes before the configuration file, which is `energy.toml` in the home or what ENERGY_ASSETS_CONFIG names.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from energy_assets.errors import ConfigError

PREFIX = "ENERGY_ASSETS_"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
CONFIG_NAME = "energy.toml"
_CRON_FIELD = re.compile(r"(\*|[A-Za-z]{3}|\d{1,2})([-/,]([A-Za-z]{3}|\d{1,2}))*")


class Settings(BaseSettings):
    """Everything that can be configured; each field is read from `ENERGY_ASSETS_<NAME>`, then from the file."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_file=None, env_ignore_empty=True
    )

    home: Path = Field(Path(".energy"), description="Folder of everything that the platform writes by default.")
    lake_catalog: str | None = Field(
        None,
        description="DuckLake catalog: `sqlite:PATH` or a `postgres:` connection string. "
        "Default: SQLite in the home folder.",
    )
    lake_data: str | None = Field(
        None, description="Folder or s3:// prefix of the lake's Parquet files. Default: in the home folder."
    )
    memory_limit_gb: Annotated[float, Field(gt=0.1)] = Field(1.2, description="Memory that one DuckDB process may use.")
    threads: Annotated[int, Field(ge=1)] = Field(2, description="Threads of DuckDB and of model training.")
    mlflow_tracking_uri: str | None = Field(
        None, description="MLflow store or server. Default: SQLite in the home folder."
    )
    mlflow_port: Annotated[int, Field(ge=1, le=65535)] = Field(5000, description="Port of the MLflow UI.")
    dagster_port: Annotated[int, Field(ge=1, le=65535)] = Field(3000, description="Port of the Dagster UI.")
    host: str = Field("127.0.0.1", description="Address that the user interfaces listen on.")
    first_day: str = Field(
        "2016-01-01", description="First UTC day of the daily partitions (ISO date); earlier data is not partitioned."
    )
    issue_hour_utc: Annotated[int, Field(ge=0, le=23)] = Field(
        0, description="Hour of the day before delivery at which forecasts are issued; nothing known later is used."
    )
    portfolio_limit_kw: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Power that the portfolio may draw or feed in: its chance is told per slot. Default: none."
    )
    nightly_cron: str = Field("30 2 * * *", description="When the nightly job runs, in the platform's time zone.")
    retrain_cron: str = Field("0 4 * * 0", description="When models are retrained, in the platform's time zone.")
    calendar_folder: Path | None = Field(
        None, description="Folder of CSV files with school holidays and site closures (docs/models.md). Default: none."
    )
    training_rows: Annotated[int, Field(ge=1000)] = Field(
        600_000,
        description="Rows that models learn from in all; more takes longer and gains little. Beyond 600,000 each model "
        "takes a quarter of them, whatever the effort; beyond a million they lie in files, all are met.",
    )
    training_family: Literal["blend", "trees", "trees_only", "linear", "last_week", "weekday_mean", "analogue"] = Field(
        "blend",
        description="What kind of model is trained; blend mixes the others by how good they were (docs/models.md).",
    )
    training_features: Literal["usual", "all"] = Field(
        "usual",
        description="Features that models may use; all adds wind chill, which did not help where it was tried, and "
        "the irradiance of a clear sky, which the sun's elevation tells already.",
    )
    training_effort: Literal["quick", "full"] = Field(
        "full",
        description="Quick models take a third of the time and are a few percent worse; `energy run` starts with them.",
    )
    training_device: Literal["cpu", "cuda"] = Field(
        "cpu", description="Where models are trained; cuda needs the package `xgboost` in place of `xgboost-cpu`."
    )
    training_memory_gb: Annotated[float, Field(gt=0)] = Field(
        4.0, description="Largest matrix that training holds in memory; a larger one lies in files while it is used."
    )
    training_tuning_s: Annotated[int, Field(ge=0)] = Field(
        0, description="Seconds that a training may search for better parameters, per model; 0 searches none."
    )
    training_issues: Annotated[int, Field(ge=10)] = Field(
        60, description="Nights before the last four weeks that models learn from."
    )
    model_versions_kept: Annotated[int, Field(ge=1)] = Field(
        8,
        description="Newest versions of each model that the weekly upkeep leaves, beside those that are in use.",
    )
    rebuildable_days: Annotated[int, Field(ge=1)] = Field(
        30, description="Forecasts of so many days can be made again: the snapshots and versions that they need stay."
    )
    open_meteo_url: str | None = Field(
        None, description="Address of an Open-Meteo instance of your own. Default: the public service."
    )
    open_meteo_key: str | None = Field(
        None, description="Customer key of Open-Meteo; without one its free service is for non-commercial use."
    )
    fence_factor: Annotated[float, Field(gt=0)] = Field(
        3.0,
        description="Interquartile ranges beyond the quartiles of its cluster, weekday and hour from which a reading "
        "gets the flag iqr_fence, which tells and opens no event; system 004 used 0.5.",
    )
    ledger_name: str = Field(
        "localhost/energy_assets", description="Name of the transparency log, part of its key: your domain and a path."
    )
    timezone: str = Field("UTC", description="IANA time zone of the platform's schedules.")
    currency_code: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = Field("EUR", description="ISO 4217 currency.")
    actual_weather_as_forecast: bool = Field(
        default=False,
        description="Where no weather forecast was kept, let the observation serve as its own forecast. For history "
        "without forecasts only: it makes back-filled forecasts look better than they would have been.",
    )
    mqtt_broker: str = Field(
        "mqtt://127.0.0.1:1883", description="The MQTT broker: mqtt://HOST[:PORT], or mqtts://HOST[:PORT] for TLS."
    )
    broker_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        1883,
        description="Port of the broker that `energy up` brings where mqtt_broker names none; 0: bring none, and "
        "neither recorder nor publisher.",
    )
    live_meters: Annotated[int, Field(ge=0, le=100_000)] = Field(
        12, description="Meters that `energy up` simulates on its own broker, beside a generated community only."
    )
    mqtt_version: Literal["3.1.1", "5"] = Field("5", description="MQTT version that our own clients speak.")
    mqtt_user_name: str | None = Field(None, description="User at the broker.")
    mqtt_password: SecretStr | None = Field(None, description="Password at the broker.")
    mqtt_password_file: Path | None = Field(None, description="File with the password; goes before mqtt_password.")
    mqtt_ca_file: Path | None = Field(None, description="CA certificates for TLS. Default: those of the machine.")
    mqtt_certificate_file: Path | None = Field(None, description="Our client certificate for TLS (PEM).")
    mqtt_key_file: Path | None = Field(None, description="Key of our client certificate (PEM).")
    spool_keep_days: Annotated[float, Field(ge=0)] = Field(
        14, description="How long segments of MQTT messages stay after they were landed."
    )
    real_data: Path | None = Field(None, description="Folder of the developers' real data sets; tests only.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @field_validator("first_day")
    @classmethod
    def _a_day(cls, value: str) -> str:
        return date.fromisoformat(value).isoformat()

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("is no time zone; use UTC or an IANA name as Europe/Berlin")
        return value

    @field_validator("nightly_cron", "retrain_cron")
    @classmethod
    def _a_cron_line(cls, value: str) -> str:
        fields = value.split()
        if len(fields) != 5 or not all(_CRON_FIELD.fullmatch(each) for each in fields):
            raise ValueError("is no cron line: minute hour day month weekday, as `30 2 * * *`")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where values come from, first come first served: arguments, variables, the configuration file."""
        home = init_settings().get("home") or env_settings().get("home") or cls.model_fields["home"].default
        file = TomlConfigSettingsSource(settings_cls, config_file(os.environ, home=Path(home)))
        return (init_settings, env_settings, file)

    @property
    def catalog(self) -> str:
        """Return the DuckLake catalog in effect."""
        return self.lake_catalog or f"sqlite:{self.home / 'lake' / 'catalog.sqlite'}"

    @property
    def data_path(self) -> str:
        """Return the folder or prefix of the lake's Parquet files."""
        return self.lake_data or str(self.home / "lake" / "data")

    @property
    def tracking_uri(self) -> str:
        """Return the MLflow tracking URI in effect."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.home / 'mlflow' / 'mlflow.sqlite'}"

    @property
    def spool_folder(self) -> Path:
        """Return the folder in which recorders keep their segments."""
        return self.home / "spool"

    @property
    def ledger_folder(self) -> Path:
        """Return the folder of the transparency log and its keys."""
        return self.home / "ledger"

    @property
    def sources_folder(self) -> Path:
        """Return the folder of the source declarations."""
        return self.home / "sources"


def config_file(environment: Mapping[str, str], *, home: Path) -> Path:
    """Return the configuration file: the one that ENERGY_ASSETS_CONFIG names, else energy.toml in the home.

    Raises:
        ConfigError: the variable names a file that does not exist.
    """
    named = environment.get(CONFIG_VARIABLE)
    if not named:
        return home.expanduser() / CONFIG_NAME
    if not Path(named).expanduser().is_file():
        raise ConfigError(f"{CONFIG_VARIABLE} names {named}, which is no file: correct it, or unset it.")
    return Path(named).expanduser()


@cache
def load_settings() -> Settings:
    """Return the settings of this process.

    Raises:
        ConfigError: a variable or a key of the file is unknown or out of range; the message names it and its place.
    """
    environment = dict(os.environ)
    unknown = [name for name in environment if name.startswith(PREFIX) and name not in _variables() | {CONFIG_VARIABLE}]
    if unknown:
        raise ConfigError(" ".join(_unknown(name, among=_variables(), place="the environment") for name in unknown))
    home = Path(environment.get(f"{PREFIX}HOME") or Settings.model_fields["home"].default)
    file = config_file(environment, home=home)
    try:
        return Settings()
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is no valid TOML: {error}. Lines read `key = value`, texts in quotes.") from error
    except ValidationError as error:
        faults = [_fault(dict(fault), environment=environment, file=file) for fault in error.errors()]
        raise ConfigError(" ".join(faults)) from error


def _variables() -> set[str]:
    return {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}


def _fault(fault: Mapping[str, Any], *, environment: Mapping[str, str], file: Path) -> str:
    """Return one fault in a sentence: place, key, what was found, what is allowed, remedy."""
    key = str(fault["loc"][0])
    variable = f"{PREFIX}{key.upper()}"
    if fault["type"] == "extra_forbidden":
        return _unknown(key, among=set(Settings.model_fields), place=str(file))
    field = Settings.model_fields[key]
    name = variable if variable in environment else f"{file}: {key}"
    allowed = str(fault["msg"]).removeprefix("Value error, ")
    shown = "" if key.endswith(("password", "key")) else f" is {fault['input']!r}:"
    return f"{name}{shown} {allowed}. Correct it, or leave it out for the default {field.default!r}."


def _unknown(name: str, *, among: set[str], place: str) -> str:
    near = difflib.get_close_matches(name, among, n=1, cutoff=0.6)
    remedy = f"Did you mean {near[0]}?" if near else f"The settings are: {', '.join(sorted(among))}."
    return f"{name} in {place} is no setting. {remedy}"

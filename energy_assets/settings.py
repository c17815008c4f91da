"""The one frozen `Settings`, and the only place that reads the environment. Defaults run as they are."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from energy_assets.errors import ConfigError

PREFIX = "ENERGY_ASSETS_"


class Settings(BaseSettings):
    """Everything that can be configured; each field is read from `ENERGY_ASSETS_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_file=None)

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
    nightly_cron: str = Field("30 2 * * *", description="When the nightly job runs, in the platform's time zone.")
    retrain_cron: str = Field("0 4 * * 0", description="When models are retrained, in the platform's time zone.")
    training_rows: Annotated[int, Field(ge=1000)] = Field(
        600_000, description="Rows that models learn from in all; more takes longer and gains little."
    )
    training_effort: Literal["quick", "full"] = Field(
        "full",
        description="Quick models take a third of the time and are a few percent worse; `energy run` starts with them.",
    )
    training_issues: Annotated[int, Field(ge=10)] = Field(
        60, description="Nights before the last four weeks that models learn from."
    )
    open_meteo_url: str | None = Field(
        None, description="Address of an Open-Meteo instance of your own. Default: the public service."
    )
    open_meteo_key: str | None = Field(
        None, description="Customer key of Open-Meteo; without one its free service is for non-commercial use."
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
    mqtt_version: Literal["3.1.1", "5"] = Field("5", description="MQTT version that our own clients speak.")
    mqtt_user_name: str | None = Field(None, description="User at the broker.")
    mqtt_password: SecretStr | None = Field(None, description="Password at the broker.")
    mqtt_password_file: Path | None = Field(None, description="File with the password; goes before mqtt_password.")
    mqtt_ca_file: Path | None = Field(None, description="CA certificates for TLS. Default: those of the machine.")
    mqtt_certificate_file: Path | None = Field(None, description="Our client certificate for TLS (PEM).")
    mqtt_key_file: Path | None = Field(None, description="Key of our client certificate (PEM).")
    real_data: Path | None = Field(None, description="Folder of the developers' real data sets; tests only.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

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
    def sources_folder(self) -> Path:
        """Return the folder of the source declarations."""
        return self.home / "sources"


@cache
def load_settings() -> Settings:
    """Return the settings of this process.

    Raises:
        ConfigError: a variable is unknown to the model or out of range; the message names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(
            f"{PREFIX}{'_'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']} (got {fault['input']!r})"
            for fault in error.errors()
        )
        raise ConfigError(f"The environment does not make valid settings: {faults}.") from error

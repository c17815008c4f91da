"""The mapping of a table of readings: a TOML file that says where time, meter and value stand and what they mean.

Nothing is guessed: a mapping that leaves a question open is refused with the key to add. The whole format:

    layout = "long"                        # long: a row a reading; wide: a column a meter

    [file]                                 # of CSV; every key may be left out
    delimiter = ","                        # default ","
    decimal = "."                          # or ","
    null_tokens = ["", "NA", "NaN", "null"]  # what stands for no value; default "", NA, N/A, null, NULL, None

    [time]
    columns = ["timestamp"]                # several, as date and clock, are joined by a space
    format = "%d.%m.%Y %H:%M"              # strptime, unix_s or unix_ms; left out: ISO 8601 or Parquet time stamps
    zone = "Europe/Berlin"                 # UTC, an IANA zone (with its clock changes), or an offset such as +01:00;
                                           # a stamp that carries its own offset, as 12:00+02:00, keeps it
    marks = "start"                        # which end of its interval a stamp marks: start (default) or end

    [[values]]                             # once per column, or group of columns, that holds values
    column = "kwh"                         # a column of a long table, or
    pattern = "(.+)_kwh"                   # wide: all columns that the expression matches as a whole
    meter = "{source}.{building_id}.{kind}"  # {column} of the row (long); {name} is the value column, {1} its
                                           # first group (wide); {source} the source; the default is {source}.{name}
    unit = "kWh"                           # any key of [meters] may stand here for the meters of this column

    [meters]                               # what holds for every meter that nothing else declares
    commodity = "electricity"              # default; or chilled_water steam hot_water gas water
    direction = "consumption"              # default; or production grid_import grid_export
    measure = "interval_energy"            # default; or power register
    unit = "kWh"                           # W kW MW Ws Wh kWh MWh kBtu m3 l
    interval_minutes = 60                  # divides the day; it and the unit have no default
    # optional: kwh_per_m3, capacity_kw, premise (an id; default: the meter id without its last part), site

    [[overrides]]                          # later ones win over earlier, and over [meters]; a meters file wins over all
    match = "*.gas"                        # shell pattern of the meter id
    commodity = "gas"

    [rename]                               # a meter id that the templates made -> the one to use
    "home.Zaehler 1.electricity" = "home.1.electricity"

    [[filters]]                            # rows to read; the others are not of this source and not counted
    column = "kind"
    values = ["manufacturer"]

    [registry]                             # CSV or Parquet in the columns of metering.sites, .premises and .meters
    sites = "sites.csv"
    premises = "premises.csv"
    meters = "meters.csv"                  # when given, readings of other meters go to quarantine as unknown_meter

    [site]                                 # the one site, where no sites file is given; id defaults to <source>.main
    name = "Cambridge"
    timezone = "Europe/London"             # and: id, latitude, longitude, country_code, subdivision_code, limit_kw

Paths are relative to the mapping's folder. A blank cell of a wide table is no reading (a wide table has a cell for
every meter and time, so a blank says nothing); a blank value of a long table is a row that says something was to be
there, and is quarantined as missing_value. A register's stamp is the instant of its reading, whatever `marks` says.
"""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from energy_assets.contracts.metering import COMMODITIES, DIRECTIONS, MEASURES, UNITS
from energy_assets.errors import ConfigError

_OFFSET = re.compile(r"[+-](0\d|1[0-4]):[0-5]\d")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CsvFormat(_Part):
    """How a CSV is written."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = Field(",", description="Between fields.")
    decimal: Literal[".", ","] = Field(".", description="Decimal mark of numbers.")
    null_tokens: tuple[str, ...] = Field(
        ("", "NA", "N/A", "null", "NULL", "None"), description="What stands for no value."
    )


class TimeFormat(_Part):
    """Where the time stands and what it means."""

    columns: Annotated[tuple[str, ...], Field(min_length=1)] = Field(description="Joined by a space.")
    format: str | None = Field(None, description="strptime format, unix_s or unix_ms; None: ISO 8601 or Parquet.")
    zone: str = Field(description="UTC, an IANA zone, or a fixed offset such as +01:00.")
    marks: Literal["start", "end"] = Field("start", description="Which end of its interval a stamp marks.")

    @field_validator("zone")
    @classmethod
    def _known(cls, value: str) -> str:
        if value != "UTC" and not _OFFSET.fullmatch(value) and value not in available_timezones():
            raise ValueError("is no time zone; use UTC, an IANA name as Europe/Berlin, or an offset as +01:00")
        return value

    @property
    def offset_minutes(self) -> int | None:
        """Return the fixed offset from UTC; None for a zone with clock changes."""
        if self.zone == "UTC":
            return 0
        if not _OFFSET.fullmatch(self.zone):
            return None
        hours, minutes = self.zone[1:].split(":")
        return (-1 if self.zone[0] == "-" else 1) * (int(hours) * 60 + int(minutes))


class Declaration(_Part):
    """What is declared of a meter; None: said elsewhere."""

    commodity: str | None = Field(None, description=", ".join(COMMODITIES))
    direction: str | None = Field(None, description=", ".join(DIRECTIONS))
    measure: str | None = Field(None, description=", ".join(MEASURES))
    unit: str | None = Field(None, description=", ".join(UNITS))
    interval_minutes: Annotated[int, Field(ge=1, le=1440)] | None = Field(None, description="Cadence.")
    kwh_per_m3: Annotated[float, Field(gt=0, le=20)] | None = Field(None, description="Calorific value of gas.")
    capacity_kw: Annotated[float, Field(gt=0)] | None = Field(None, description="Above it a reading is impossible.")
    premise: str | None = Field(None, description="Premise id; default: the meter id without its last part.")
    site: str | None = Field(None, description="Site id; default: the site of the mapping.")

    @field_validator("interval_minutes")
    @classmethod
    def _divides_the_day(cls, value: int | None) -> int | None:
        if value is not None and 1440 % value:
            raise ValueError("must divide a day of 1440 minutes")
        return value

    @field_validator("commodity", "direction", "measure", "unit")
    @classmethod
    def _in_vocabulary(cls, value: str | None, context: object) -> str | None:
        allowed = {"commodity": COMMODITIES, "direction": DIRECTIONS, "measure": MEASURES, "unit": UNITS}
        names = allowed[str(getattr(context, "field_name", ""))]
        if value is not None and value not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return value

    def stated(self) -> dict[str, object]:
        """Return what this declaration says, by key of `Declaration`."""
        return self.model_dump(include=set(Declaration.model_fields), exclude_none=True)


class ValueColumns(Declaration):
    """One column, or a group of columns, that holds values."""

    column: str | None = Field(None, description="Name of the column.")
    pattern: str | None = Field(None, description="Expression that matches whole column names.")
    meter: str = Field("{source}.{name}", description="Template of the meter id.")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.column is None) == (self.pattern is None):
            raise ValueError("needs either column or pattern")
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise ValueError(f"pattern is no regular expression: {error}") from error
        return self


class Override(Declaration):
    """A declaration for the meters whose id matches."""

    match: str = Field(description="Shell pattern of the meter id.")


class RowFilter(_Part):
    """Rows to read: those whose column holds one of the values."""

    column: str = Field(description="Name of the column.")
    values: Annotated[tuple[str, ...], Field(min_length=1)] = Field(description="Values as text.")


class RegistryFiles(_Part):
    """Files in the columns of the metering contracts."""

    sites: Path | None = Field(None, description="File of sites.")
    premises: Path | None = Field(None, description="File of premises.")
    meters: Path | None = Field(None, description="File of meters; closes the set of meters.")


class SiteDeclaration(_Part):
    """The one site of a table without a sites file."""

    id: str | None = Field(None, description="Site id; default <source>.main.")
    name: str | None = Field(None, description="Name for people; default the source's name.")
    timezone: str | None = Field(None, description="IANA zone; default the zone of the time stamps.")
    latitude: Annotated[float, Field(ge=-90, le=90)] | None = Field(None, description="Degrees north.")
    longitude: Annotated[float, Field(ge=-180, le=180)] | None = Field(None, description="Degrees east.")
    country_code: str | None = Field(None, description="ISO 3166-1 alpha-2.")
    subdivision_code: str | None = Field(None, description="ISO 3166-2 part after the dash.")
    limit_kw: Annotated[float, Field(gt=0)] | None = Field(None, description="What its connection carries.")

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in available_timezones():
            raise ValueError("is no IANA time zone; use a name as Europe/Berlin")
        return value


class Mapping(_Part):
    """A whole mapping file; the format stands in the module's docstring."""

    layout: Literal["long", "wide"] = Field(description="long: a row a reading; wide: a column a meter.")
    file: CsvFormat = Field(CsvFormat(), description="How a CSV is written.")
    time: TimeFormat = Field(description="Where the time stands and what it means.")
    values: Annotated[tuple[ValueColumns, ...], Field(min_length=1)] = Field(description="Columns with values.")
    meters: Declaration = Field(Declaration(), description="What holds for every meter.")
    overrides: tuple[Override, ...] = Field((), description="What holds for some meters.")
    rename: dict[str, str] = Field({}, description="Meter id made -> meter id used.")
    filters: tuple[RowFilter, ...] = Field((), description="Rows to read.")
    registry: RegistryFiles = Field(RegistryFiles(), description="Files of the registry.")
    site: SiteDeclaration = Field(SiteDeclaration(), description="The one site.")

    def declared(self, meter_id: str, values: ValueColumns) -> Declaration:
        """Return what the mapping says of a meter: [meters], then its value column, then overrides in order."""
        stated = self.meters.stated() | values.stated()
        for override in self.overrides:
            if fnmatchcase(meter_id, override.match):
                stated |= override.stated()
        return Declaration.model_validate(stated)


def load_mapping(path: Path) -> Mapping:
    """Return the mapping in a TOML file; the registry's paths are made absolute.

    Raises:
        ConfigError: the file is absent, not TOML, or a key is unknown or wrong; names file, key and remedy.
    """
    try:
        declared = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}. Give the mapping's TOML file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}. Mend that line.") from error
    try:
        mapping = Mapping.model_validate(declared)
    except ValidationError as error:
        raise ConfigError(
            f"{path}: {faults_of(error)}. The format stands in energy_assets/readings/mapping.py."
        ) from error
    located = {kind: path.parent / file for kind, file in mapping.registry if file is not None}
    return mapping.model_copy(update={"registry": mapping.registry.model_copy(update=located)})


def faults_of(error: ValidationError) -> str:
    """Return the faults of a validation as `key a.b: what is wrong (got 'x')`, joined by semicolons."""
    return "; ".join(
        f"key {'.'.join(str(part) for part in fault['loc']) or '(top level)'}: {fault['msg']} (got {fault['input']!r})"
        for fault in error.errors()
    )

"""The mapping of MQTT messages: a TOML file that says what topics and JSON payloads mean, run as one DuckDB statement.

    zone = "Europe/Rome"                   # of times without an offset, and of the site; default UTC
    [site]                                 # as in a table's mapping
    [[messages]]                           # a message is tried with each whose topic and condition match
    topic = "energy/meters/{meter}"        # {name} captures a level; + and # as in MQTT
    each = "$.rows"                        # array of records, one after the other; left out: the payload is the record
    id = "$.email"                         # of the record, for {id} in the meter's template
    meter = "{source}.{meter}.electricity" # captures, {id}, {index} (position in an array of values, from 1)
    value = "$.kwh"                        # a number, or an array of numbers; "$" is the payload itself
    time = "$.timestamp"                   # beside an array of values an array too; left out: arrival
    format = "iso"                         # or unix_s, unix_ms
    where = "$.FeatureType"                # the record counts only when this is `equals`
    equals = "EnergyMeter"
    measure, unit, direction, commodity, interval_minutes   # as in a table's mapping
    sign = 1                               # or -1
    absent = "refuse"                      # a value that is null or not there: refuse (missing_value) or skip
    retained = "use"                       # or skip: retained messages are refused as `retained`

Every message gives at least one row: a reading, or a refusal with its reason and payload.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from energy_assets.errors import ConfigError
from energy_assets.metering.units import declaration_faults
from energy_assets.readings.mapping import Declaration, SiteDeclaration, faults_of
from energy_assets.sql import Query

BUILT_IN = Path(__file__).with_name("mappings")
_FIELD = re.compile(r"\{([a-z_]+)\}")
_MOST_CAPTURES = 9
JsonPath = Annotated[str, Field(pattern=r"^\$")]


class MessageRule(Declaration):
    """What the messages of one topic pattern mean."""

    topic: Annotated[str, Field(min_length=1)] = Field(description="Topic pattern: {name}, + and #.")
    meter: str = Field(description="Template of the meter id.")
    value: JsonPath = Field(description="JSON path of the value or array of values.")
    each: JsonPath | None = Field(None, description="JSON path of an array of records.")
    id: JsonPath | None = Field(None, description="JSON path of what {id} stands for.")
    time: JsonPath | None = Field(None, description="JSON path of the time; None: arrival.")
    format: Literal["iso", "unix_s", "unix_ms"] = Field("iso", description="How the time is written.")
    where: JsonPath | None = Field(None, description="JSON path of a condition.")
    equals: str | None = Field(None, description="What the condition's value must be, as text.")
    sign: Literal[1, -1] = Field(1, description="Factor of the value.")
    absent: Literal["refuse", "skip"] = Field("refuse", description="What a null value is.")
    retained: Literal["use", "skip"] = Field("use", description="What a retained message is.")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        missing = [key for key in ("measure", "unit", "interval_minutes") if getattr(self, key) is None]
        if missing:
            raise ValueError(f"lacks {', '.join(missing)}")
        if (self.where is None) != (self.equals is None):
            raise ValueError("needs both where and equals, or neither")
        faults = declaration_faults(
            commodity=self.commodity or "electricity", measure=str(self.measure), unit=str(self.unit)
        )
        captures = _FIELD.findall(self.topic)
        if len(captures) > _MOST_CAPTURES:
            faults.append("topic has more than nine captures")
        faults += [
            f"meter names {{{name}}}, which is no capture of the topic"
            for name in _FIELD.findall(self.meter)
            if name not in {*captures, "source", "index", *(("id",) if self.id else ())}
        ]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def pattern(self) -> str:
        """Return the topic pattern as a regular expression (RE2) with a group for each capture."""
        parts = re.split(r"(\{[a-z_]+\}|\+|#)", self.topic)
        written = {"+": "[^/]+", "#": ".*"}
        return (
            "^"
            + "".join("([^/]+)" if _FIELD.fullmatch(part) else written.get(part) or re.escape(part) for part in parts)
            + "$"
        )

    def meter_template(self, source: str) -> str:
        """Return the meter id as a replacement for the pattern; {id} and {index} stay for the record."""
        groups = {name: f"\\{number}" for number, name in enumerate(_FIELD.findall(self.topic), start=1)}
        known = groups | {"source": source}
        return _FIELD.sub(lambda field: known.get(field[1], field[0]), self.meter.replace("\\", "\\\\"))


class PayloadMapping(BaseModel):
    """A whole mapping file; the format stands in the module's docstring."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: Annotated[tuple[MessageRule, ...], Field(min_length=1)] = Field(description="Rules, in order.")
    zone: str = Field("UTC", description="Zone of times without an offset.")
    site: SiteDeclaration = Field(SiteDeclaration(), description="The one site.")

    @field_validator("zone")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("is no time zone; use UTC or an IANA name as Europe/Berlin")
        return value

    def readings(self, *, source: str) -> Query:
        """Return the statement that turns `temp.incoming_messages` into readings and refusals.

        Rows: line_number, meter_id, starts_at_utc, value, unit, measure, interval_minutes, reason (null: a reading),
        payload (of refusals), topic, rule, available_at_utc, batch_id.
        """
        rules = self.messages
        return Query.from_file(
            "energy_assets.messaging",
            "readings",
            zone=self.zone,
            rules=list(range(len(rules))),
            patterns=[rule.pattern for rule in rules],
            meters=[rule.meter_template(source) for rule in rules],
            **{
                f"{name}_": [getattr(rule, name) for rule in rules]
                for name in ("value", "each", "id", "time", "format", "where", "equals", "sign", "absent", "retained")
            },
            **{f"{name}_": [getattr(rule, name) for rule in rules] for name in ("unit", "measure", "interval_minutes")},
        )


def mapping_file(path: Path) -> Path:
    """Return the path, or the file of the built-in mapping of that name where there is no such file."""
    built_in = BUILT_IN / f"{path.name}.toml"
    return built_in if not path.is_file() and built_in.is_file() else path


def load_payload_mapping(path: Path) -> PayloadMapping:
    """Return the mapping in a TOML file, or the built-in one of that name.

    Raises:
        ConfigError: the file is absent, not TOML, or a key is unknown or wrong; names file, key and remedy.
    """
    found = mapping_file(path)
    try:
        return PayloadMapping.model_validate(tomllib.loads(found.read_text(encoding="utf-8-sig")))
    except OSError as error:
        names = ", ".join(sorted(each.stem for each in BUILT_IN.glob("*.toml")))
        raise ConfigError(f"{path} cannot be read: {error.strerror}. Give a TOML file, or one of {names}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}. Mend that line.") from error
    except ValidationError as error:
        raise ConfigError(
            f"{found}: {faults_of(error)}. The format stands in energy_assets/messaging/payloads.py."
        ) from error

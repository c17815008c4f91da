"""The mapping of MQTT messages: a TOML file that says what topics and payloads mean, run as DuckDB statements.

    zone = "Europe/Rome"                   # of times without an offset, and of the site; default UTC
    include = ["tasmota", "mine.toml"]     # rules of other mappings behind these: built-in names, or files beside this
    others = "refuse"                      # messages of topics without a rule: refuse (no_mapping) or ignore
    [site]                                 # as in a table's mapping
    [[messages]]                           # a message is read by each rule whose topic and condition match
    topic = "energy/meters/{meter}"        # {name} captures a level or a part of one; + and # as in MQTT
    payload = "json"                       # or csv: numbers between commas
    each = "$.rows"                        # array of records, one after the other; left out: the payload is the record
    id = "$.email"                         # of the record, for {id} in the meter's template
    meter = "{source}.{meter}.electricity" # captures, {id}, {index} (position in an array of values, from 1)
    value = "$.kwh"                        # a number, or an array of numbers; "$" is the payload itself, text too
    nulls = ["unavailable"]                # texts that stand for no value
    time = "$.timestamp"                   # beside an array of values an array too; left out: arrival
    format = "iso"                         # or unix_s, unix_ms
    timeless = "refuse"                    # a record without that time: refuse (unreadable_time), or arrival
    zone = "UTC"                           # of this rule's times without an offset
    where = "$.FeatureType"                # the record counts only when this is `equals`
    equals = "EnergyMeter"
    measure, unit, direction, commodity, interval_minutes, ...   # as in a table's mapping
    factor = 1                             # what the value is multiplied by, to be in `unit`
    sign = 1                               # or -1
    part = "all"                           # or positive, negative: that part of a value that flows both ways
    absent = "refuse"                      # a value that is null or not there: refuse (missing_value) or ignore
    retained = "use"                       # or ignore: what the broker kept, and sends to every new subscriber
    [[ignored]]                            # messages that are no readings, on purpose: counted, not kept
    topic = "energy/price"                 # and where, equals
    always = false                         # true: also where a rule of messages matches; without where

Every message gives at least one row: a reading, a repeat, a refusal with its reason and payload, or one that says that
it was ignored.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from energy_assets.errors import ConfigError
from energy_assets.metering.units import declaration_faults
from energy_assets.readings.mapping import Declaration, SiteDeclaration, faults_of

BUILT_IN = Path(__file__).with_name("mappings")
_FIELD = re.compile(r"\{([a-z_]+)\}")
_PARTS = re.compile(r"(\{[a-z_]+\}|\+|#)")
JsonPath = Annotated[str, Field(pattern=r"^\$")]


def _known_zone(value: str | None) -> str | None:
    if value is not None and value not in available_timezones():
        raise ValueError("is no time zone; use UTC or an IANA name as Europe/Berlin")
    return value


class TopicRule(BaseModel):
    """Which messages are meant: a topic pattern, and perhaps a condition on the payload."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic: Annotated[str, Field(min_length=1)] = Field(description="Topic pattern: {name}, + and #.")
    where: JsonPath | None = Field(None, description="JSON path of a condition.")
    equals: str | None = Field(None, description="What the condition's value must be, as text.")

    @model_validator(mode="after")
    def _has_whole_condition(self) -> Self:
        if (self.where is None) != (self.equals is None):
            raise ValueError("needs both where and equals, or neither")
        return self

    @property
    def captures(self) -> list[str]:
        """Return the names that the topic captures."""
        return _FIELD.findall(self.topic)

    @property
    def pattern(self) -> str:
        """Return the topic pattern as a regular expression with a group for each capture."""
        topic, tail = self.topic, ""
        if topic.endswith("/#"):  # which matches the level above it too
            topic, tail = topic[:-2], "(?:/.*)?"
        written = {"+": "[^/]*", "#": ".*"}
        return (
            "(?s)^"
            + "".join(
                "([^/]+)" if _FIELD.fullmatch(each) else written.get(each) or re.escape(each)
                for each in _PARTS.split(topic)
            )
            + tail
            + "$"
        )


class MessageRule(Declaration, TopicRule):
    """What the messages of one topic pattern mean."""

    meter: str = Field(description="Template of the meter id.")
    value: JsonPath = Field(description="JSON path of the value or array of values.")
    payload: Literal["json", "csv"] = Field("json", description="How the payload is written.")
    nulls: tuple[str, ...] = Field((), description="Texts that stand for no value.")
    each: JsonPath | None = Field(None, description="JSON path of an array of records.")
    id: JsonPath | None = Field(None, description="JSON path of what {id} stands for.")
    time: JsonPath | None = Field(None, description="JSON path of the time; None: arrival.")
    format: Literal["iso", "unix_s", "unix_ms"] = Field("iso", description="How the time is written.")
    zone: str | None = Field(None, description="Zone of times without an offset; None: that of the mapping.")
    timeless: Literal["refuse", "arrival"] = Field("refuse", description="What a record without that time is.")
    factor: Annotated[float, Field(gt=0)] = Field(1, description="What the value is multiplied by, to be in its unit.")
    sign: Literal[1, -1] = Field(1, description="Sign that the value gets.")
    part: Literal["all", "positive", "negative"] = Field("all", description="The part of the value that counts.")
    absent: Literal["refuse", "ignore"] = Field("refuse", description="What a null value is.")
    retained: Literal["use", "ignore"] = Field("use", description="What a retained message is.")

    _zone = field_validator("zone")(_known_zone)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        missing = [key for key in ("measure", "unit", "interval_minutes") if getattr(self, key) is None]
        if missing:
            raise ValueError(f"lacks {', '.join(missing)}")
        faults = declaration_faults(
            commodity=self.commodity or "electricity", measure=str(self.measure), unit=str(self.unit)
        )
        known = {*self.captures, "source", "index", *(("id",) if self.id else ())}
        faults += [
            f"meter names {{{name}}}, which is no capture of the topic"
            for name in _FIELD.findall(self.meter)
            if name not in known
        ]
        if self.payload == "csv" and (self.each or self.time or self.id or self.where or self.value != "$"):
            faults.append("csv has the value $ and nothing else to point at")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def meter_template(self, source: str) -> str:
        """Return the meter id as a replacement for the pattern; {id} and {index} stay for the record."""
        groups = {name: f"${{{number}}}" for number, name in enumerate(self.captures, start=1)}
        known = groups | {"source": source}
        return _FIELD.sub(lambda field: known.get(field[1], field[0]), self.meter.replace("$", "$$"))


class IgnoredRule(TopicRule):
    """Which messages are no readings, on purpose."""

    always: bool = Field(default=False, description="Whether they are ignored even where a rule of messages matches.")

    @model_validator(mode="after")
    def _is_of_topics(self) -> Self:
        if self.always and self.where is not None:
            raise ValueError("has always and where; a topic that is always ignored has no condition")
        return self


class PayloadMapping(BaseModel):
    """A whole mapping file; the format stands in the module's docstring."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: tuple[MessageRule, ...] = Field((), description="Rules, in order.")
    ignored: tuple[IgnoredRule, ...] = Field((), description="Messages that are ignored on purpose.")
    include: tuple[str, ...] = Field((), description="Other mappings whose rules come behind these.")
    others: Literal["refuse", "ignore"] = Field("refuse", description="What messages without a rule are.")
    zone: str | None = Field(None, description="Zone of times without an offset; default: UTC.")
    site: SiteDeclaration = Field(SiteDeclaration(), description="The one site.")

    _zone = field_validator("zone")(_known_zone)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.messages and not self.include:
            raise ValueError("has neither [[messages]] nor include")
        return self

    def with_included(self, included: Sequence[PayloadMapping]) -> PayloadMapping:
        """Return the mapping with the rules of others behind its own; a rule without a zone has that of its file."""
        files = [self, *included]
        messages = tuple(
            rule.model_copy(update={"zone": rule.zone or file.zone or self.zone or "UTC"})
            for file in files
            for rule in file.messages
        )
        return self.model_copy(
            update={
                "messages": messages,
                "ignored": tuple(rule for file in files for rule in file.ignored),
                "include": (),
                "zone": self.zone or "UTC",
            }
        )

    def rule_groups(self) -> Iterator[tuple[int, ...]]:
        """Yield the numbers of rules that look at the same messages, so that a payload is parsed once for all of them.

        The ignored come behind the messages.
        """
        groups: dict[tuple[object, ...], list[int]] = {}
        for number, rule in enumerate(self.messages):
            key = (rule.topic, rule.payload, rule.each, rule.zone)
            groups.setdefault(key, []).append(number)
        for number, ignored in enumerate(self.ignored, start=len(self.messages)):
            groups.setdefault((ignored.topic,), []).append(number)
        yield from (tuple(numbers) for numbers in groups.values())

    def rules_frame(self) -> pl.DataFrame:
        """Return one row per rule, of messages and ignored, with where its paths stand among those of its group."""
        rows = []
        rules = [*self.messages, *self.ignored]
        for group, numbers in enumerate(self.rule_groups()):
            paths = paths_of([rules[number] for number in numbers])
            rows += [_rule_row(rules[number], number=number, group=group, paths=paths) for number in numbers]
        found = pl.DataFrame(rows, schema=_RULES, orient="row")
        # Of rules that ignore what is absent one is enough to say that it was.
        alike = pl.col("rule").cum_count().over("group_number", "where_at", "equals", "absent")
        return found.with_columns(is_spare=(pl.col("absent") == "ignore") & (alike > 1))

    def topic_rules(self, topics: pl.Series, *, source: str) -> pl.DataFrame:
        """Return topic, rule and the meter's id as far as the topic says it, for every topic and rule that matches."""
        frame = pl.DataFrame({"topic": topics.cast(pl.String)})
        empty = frame.clear().with_columns(rule=pl.lit(0, dtype=pl.Int32), meter=pl.lit(""))
        fitting: dict[str, pl.DataFrame] = {}
        matched = [empty]
        for number, rule in enumerate([*self.messages, *self.ignored]):
            if rule.pattern not in fitting:
                fitting[rule.pattern] = frame.filter(pl.col("topic").str.contains(rule.pattern))
            found = fitting[rule.pattern]
            if found.is_empty():
                continue
            template = rule.meter_template(source) if isinstance(rule, MessageRule) else ""
            matched.append(
                found.with_columns(
                    rule=pl.lit(number, dtype=pl.Int32), meter=pl.col("topic").str.replace(rule.pattern, template)
                )
            )
        return pl.concat(matched)


_RULES: dict[str, type[pl.DataType] | pl.DataType] = {
    "rule": pl.Int32,
    "group_number": pl.Int32,
    "value_at": pl.Int32,
    "time_at": pl.Int32,
    "id_at": pl.Int32,
    "where_at": pl.Int32,
    "equals": pl.String,
    "is_text": pl.Boolean,
    "nulls": pl.String,
    "format": pl.String,
    "is_timeless": pl.Boolean,
    "factor": pl.Float64,
    "part": pl.String,
    "absent": pl.String,
    "retained": pl.String,
    "unit": pl.String,
    "measure": pl.String,
    "interval_minutes": pl.Int64,
    "has_fields": pl.Boolean,
    "is_ignored": pl.Boolean,
}


def paths_of(rules: Sequence[TopicRule]) -> list[str]:
    """Return the JSON paths that rules look at, each once."""
    names = ("value", "time", "id", "where")
    found = [getattr(rule, name, None) for rule in rules for name in names]
    return list(dict.fromkeys(path for path in found if path is not None))


def _rule_row(rule: TopicRule, *, number: int, group: int, paths: Sequence[str]) -> tuple[object, ...]:
    place = {path: position for position, path in enumerate(paths, start=1)}
    where = (place.get(rule.where or ""), rule.equals)
    if not isinstance(rule, MessageRule):
        return (
            number,
            group,
            None,
            None,
            None,
            *where,
            False,
            None,
            "",
            False,
            1.0,
            "",
            "",
            "",
            "",
            "",
            None,
            False,
            True,
        )
    return (
        number,
        group,
        place[rule.value],
        place.get(rule.time or ""),
        place.get(rule.id or ""),
        *where,
        rule.value == "$" and rule.each is None and rule.payload == "json",
        # One text, each between separators: a list beside every value costs more than to look into it.
        "\x1f".join(("", *rule.nulls, "")) if rule.nulls else None,
        rule.format,
        rule.timeless == "arrival",
        rule.sign * rule.factor,
        rule.part,
        rule.absent,
        rule.retained,
        rule.unit,
        rule.measure,
        rule.interval_minutes,
        "{id}" in rule.meter or "{index}" in rule.meter,
        False,
    )


def mapping_file(path: Path) -> Path:
    """Return the path, or the file of the built-in mapping of that name where there is no such file."""
    built_in = BUILT_IN / f"{path.name}.toml"
    return built_in if not path.is_file() and built_in.is_file() else path


def load_payload_mapping(path: Path) -> PayloadMapping:
    """Return the mapping in a TOML file, or the built-in one of that name, with what it includes.

    Raises:
        ConfigError: the file is absent, not TOML, or a key is unknown or wrong; names file, key and remedy.
    """
    mapping = _read(path)
    folder = mapping_file(path).parent
    included = [_read(mapping_file(folder / name)) for name in mapping.include]
    nested = [name for name, each in zip(mapping.include, included, strict=True) if each.include]
    if nested:
        raise ConfigError(f"{path} includes {', '.join(nested)}, which include others; name those here instead.")
    return mapping.with_included(included)


def _read(path: Path) -> PayloadMapping:
    found = mapping_file(path)
    try:
        return PayloadMapping.model_validate(tomllib.loads(found.read_text(encoding="utf-8-sig")))
    except OSError as error:
        names = ", ".join(sorted(each.stem for each in BUILT_IN.glob("*.toml")))
        raise ConfigError(f"{path} cannot be read: {error.strerror}. Give a TOML file, or one of {names}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is no text, so no mapping. Give a TOML file; `energy mapping show` has some."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}. Mend that line.") from error
    except ValidationError as error:
        raise ConfigError(
            f"{found}: {faults_of(error)}. `energy mapping show tasmota` shows one that is right; "
            f"the format stands in energy_assets/messaging/payloads.py."
        ) from error

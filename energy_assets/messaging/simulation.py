"""Households as live meters: what each would send and when, with faults on demand; deterministic by its seed.

Loads are those of the generated community. Beyond 200 homes they repeat, each copy with a size of its own. Nothing is
sent here: `rounds` gives messages, and the account of each for the ledger.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from energy_assets.contracts import UTC_TIME
from energy_assets.errors import ConfigError
from energy_assets.messaging.formats import FORMATS, MOST_METERS, State, Worded
from energy_assets.messaging.sending import Outgoing

FAULTS = {
    "drop": "never sent",
    "duplicate": "sent twice",
    "reorder": "sent after the next one",
    "late": "sent twenty rounds later",
    "reset": "the register starts anew",
    "skew": "the device's clock is off by up to two minutes",
    "garbage": "the payload is damaged on its way",
}
LATE_ROUNDS = 20
_ON_THE_WAY = ("drop", "duplicate", "reorder", "late", "garbage")
_HOMES = 200
_SLOT_MINUTES = 15
_MOST_SKEW_S = 120

_LEDGER_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "number": pl.Int64,
    "meter": pl.String,
    "starts_at_utc": UTC_TIME,
    "value": pl.Float64,
    "topic": pl.String,
    "fault": pl.String,
    "copies": pl.Int64,
    "is_acknowledged": pl.Boolean,
}
LEDGER = pl.Schema(_LEDGER_COLUMNS)
"""A row for each message that a meter made: what a reader must store (`starts_at_utc` null: at its arrival), the fault
that befell it, how often it was sent, and whether every copy was acknowledged."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is simulated. `faults` are shares of messages (0..1), by the names in `FAULTS`."""

    meters: int
    message_format: str
    first_at: datetime
    interval: timedelta
    rounds: int | None = None
    seed: int = 1
    faults: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.message_format not in FORMATS:
            raise ConfigError(f"The format {self.message_format!r} is unknown; choose from {', '.join(FORMATS)}.")
        most = MOST_METERS.get(self.message_format, 100_000)
        if not 1 <= self.meters <= most:
            names = f", which is all that {self.message_format} tells apart" if most < 100_000 else ""
            raise ConfigError(f"{self.meters} meters cannot be simulated; choose 1 to {most}{names}.")
        if self.interval < timedelta(milliseconds=100):
            raise ConfigError(f"An interval of {self.interval} is too short; choose 0.1 s or more.")
        for name, share in self.faults.items():
            if name not in FAULTS or not 0 <= share <= 1:
                raise ConfigError(f"The fault {name}={share:g} is not understood: a share of {', '.join(FAULTS)}.")


@dataclass(frozen=True, kw_only=True)
class Round:
    """The messages of one instant, in the order in which they are sent, and their rows of the ledger."""

    at: datetime
    messages: list[Outgoing]
    made: list[dict[str, Any]]


def rounds(plan: Plan) -> Iterator[Round]:
    """Yield the rounds of a plan, one an interval; those that faults hold back come with a later one."""
    loads = Loads(plan)
    generator = np.random.default_rng([plan.seed, 77])
    skew_s = np.where(
        generator.random(plan.meters) < plan.faults.get("skew", 0.0),
        generator.integers(1, _MOST_SKEW_S, plan.meters) * generator.choice([-1, 1], plan.meters),
        0,
    )
    off_s = [int(each) for each in skew_s]
    register = generator.uniform(50, 20_000, plan.meters).round(1)
    hours = plan.interval / timedelta(hours=1)
    word, befalls = FORMATS[plan.message_format], _Faults(plan, generator)
    held: dict[int, list[_Sent]] = {}
    number = index = 0
    while plan.rounds is None or index < plan.rounds:
        at = plan.first_at + index * plan.interval
        power = loads.power_kw(at)
        register += power * hours
        started_anew = generator.random(plan.meters) < plan.faults.get("reset", 0.0)
        register[started_anew] = power[started_anew] * hours
        any_anew = bool(started_anew.any())
        sent: list[_Sent] = []
        temperature = 12 + 6 * math.sin((at.hour - 9) / 24 * 2 * math.pi)
        powers, registers = power.tolist(), register.tolist()
        clocks = [at + timedelta(seconds=each) if each else at for each in off_s]
        for meter in range(plan.meters):
            state = State(
                number=meter + 1,
                at=clocks[meter],
                power_kw=powers[meter],
                energy_kwh=powers[meter] * hours,
                register_kwh=registers[meter],
                temperature_c=temperature,
            )
            for worded in word(state):
                fault = befalls.drawn()
                if fault is None and (off_s[meter] or (any_anew and started_anew[meter])):
                    fault = "reset" if started_anew[meter] else "skew"
                one = _Sent(made=_made(worded, fault, number=number), messages=[])
                payload = _damaged(worded.payload, generator) if fault == "garbage" else worded.payload
                message = Outgoing(number=number, topic=worded.topic, payload=payload)
                one.messages.extend([message] * one.made["copies"])
                delay = {"late": LATE_ROUNDS, "reorder": 1}.get(fault or "", 0)
                (held.setdefault(index + delay, []) if delay else sent).append(one)
                number += 1
        yield _round(at, [*sent, *held.pop(index, [])])
        index += 1
    rest = [one for due in sorted(held) for one in held[due]]
    if rest:
        yield _round(plan.first_at + index * plan.interval, rest)


def account_of(ledger: pl.DataFrame, stored: pl.DataFrame) -> dict[str, int]:
    """Return what became of the messages of a ledger: sent, stored, and lost, which are acknowledged and not stored.

    Args:
        ledger: rows of `LEDGER`.
        stored: meter (without its source), starts_at_utc, value: the readings that the platform holds.

    Returns:
        made, dropped, damaged, sent (copies), readings (different ones that must be there), stored, lost, extra (stored
        ones that no meter made).
    """
    due = ledger.filter(pl.col("copies") > 0, pl.col("fault").ne_missing("garbage"))
    is_timed = ledger["starts_at_utc"].null_count() == 0
    key = ["meter", "value", *(["starts_at_utc"] if is_timed else [])]
    readings = due.select(*key, "is_acknowledged").unique(key)
    there = stored.select(key).unique()
    return {
        "made": ledger.height,
        "dropped": ledger.filter(pl.col("copies") == 0).height,
        "damaged": ledger.filter(pl.col("fault") == "garbage").height,
        "sent": int(ledger["copies"].sum()),
        "readings": readings.height,
        "stored": readings.join(there, on=key, how="semi").height,
        "lost": readings.filter("is_acknowledged").join(there, on=key, how="anti").height,
        "extra": there.join(readings, on=key, how="anti").height,
    }


class _Faults:
    """What befalls messages on their way, at most one thing each; drawn in bulk, for most messages nothing happens."""

    def __init__(self, plan: Plan, generator: np.random.Generator) -> None:
        names = [name for name in _ON_THE_WAY if plan.faults.get(name)]
        self._names = [*names, None]
        self._borders = np.cumsum([plan.faults[name] for name in names])
        self._generator = generator
        self._drawn: list[int] = []

    def drawn(self) -> str | None:
        if len(self._names) == 1:
            return None
        if not self._drawn:
            self._drawn = np.searchsorted(self._borders, self._generator.random(1_000), side="right").tolist()
        return self._names[self._drawn.pop()]


class _Sent(NamedTuple):
    made: dict[str, Any]
    messages: list[Outgoing]


def _round(at: datetime, sent: list[_Sent]) -> Round:
    messages = [message for one in sent for message in one.messages]
    return Round(at=at, messages=messages, made=[one.made for one in sent])


def _made(worded: Worded, fault: str | None, *, number: int) -> dict[str, Any]:
    return {
        "number": number,
        "meter": worded.meter,
        "starts_at_utc": None if worded.at is None else worded.at.astimezone(UTC),
        "value": worded.value,
        "topic": worded.topic,
        "fault": fault,
        "copies": {"drop": 0, "duplicate": 2}.get(fault or "", 1),
        "is_acknowledged": True,
    }


def _damaged(payload: bytes, generator: np.random.Generator) -> bytes:
    """Return a payload that no reader can take for a reading: its end is lost, and what is left is no text."""
    kept = payload[: int(generator.integers(0, max(1, len(payload) - 1)))]
    return b"\xff\xfe" + kept


class Loads:
    """The power of the plan's meters at an instant, from the community's homes, a month at a time."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        homes = min(plan.meters, _HOMES)
        self._home = np.arange(plan.meters) % homes
        sizes = np.random.default_rng([plan.seed, 78]).lognormal(0.0, 0.25, plan.meters)
        self._size = np.where(np.arange(plan.meters) < homes, 1.0, sizes)
        self._block: int | None = None
        self._kw: NDArray[np.float64] = np.zeros((homes, 0))

    def power_kw(self, at: datetime) -> NDArray[np.float64]:
        """Return the power of each meter."""
        from energy_assets.community.streams import block_of, first_day_of

        day = at.astimezone(UTC).date()
        block = block_of(day)
        if block != self._block:
            self._kw, self._block = self._simulated(block), block
        first = datetime.combine(first_day_of(block), datetime.min.time(), tzinfo=UTC)
        slot = int((at - first) / timedelta(minutes=_SLOT_MINUTES))
        return np.asarray(self._kw[self._home, slot] * self._size)

    def _simulated(self, block: int) -> NDArray[np.float64]:
        from energy_assets.community.dwellings import HOUSEHOLDS_PER_TOWN, dwellings, town_of
        from energy_assets.community.household_loads import simulate_homes
        from energy_assets.community.span import Span, Truth
        from energy_assets.community.streams import first_day_of

        seed, parts = self._plan.seed, []
        span = Span(first=first_day_of(block), last=first_day_of(block + 1) - timedelta(days=1), is_local=False)
        truth = Truth(seed=seed, span=span)
        for first in range(0, len(self._kw), HOUSEHOLDS_PER_TOWN):
            town = town_of(first)
            flows = simulate_homes(
                dwellings(first, min(HOUSEHOLDS_PER_TOWN, len(self._kw) - first), seed=seed),
                place=town,
                weather=truth.of(town),
                block=block,
                seed=seed,
                interval_minutes=_SLOT_MINUTES,
            )
            parts.append(flows.load * 60 / _SLOT_MINUTES)
        return np.concatenate(parts)

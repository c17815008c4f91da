"""The names of rules and causes, what each means, and whether it speaks of the data or of the consumption.

A rule marks one slot, a cause explains an event. A data fault never becomes a consumption alarm.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Family = Literal["data_fault", "consumption", "notice"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule by name: its family, what it says in words, and its rank when several speak of one slot (0 first)."""

    name: str
    family: Family
    sentence: str
    rank: int


def _rules(*rows: tuple[str, Family, str]) -> dict[str, Rule]:
    return {
        name: Rule(name=name, family=family, sentence=sentence, rank=rank)
        for rank, (name, family, sentence) in enumerate(rows)
    }


RULES = _rules(
    ("register_reset", "data_fault", "The register fell back: reset, exchange or rollover"),
    ("register_jump", "data_fault", "The register leapt further than can have flowed"),
    ("impossible", "data_fault", "The reading is above what the connection can carry"),
    ("negative", "data_fault", "The reading is negative on a meter that never feeds back"),
    ("unit_shift", "data_fault", "The readings are off by the factor between two units"),
    ("spike", "data_fault", "The reading leaps far above the usual peak and returns"),
    ("zero_run", "data_fault", "The meter reads zero where it hardly ever does"),
    ("stuck", "data_fault", "The reading repeats far longer than it ever does"),
    ("partial", "data_fault", "The readings cover too little of the interval"),
    ("gap", "data_fault", "No reading"),
    ("swapped", "data_fault", "Two meters of one premise changed places"),
    ("clock_shift", "data_fault", "The day fits the meter's profile moved in time"),
    ("several_in_interval", "data_fault", "Readings come more often than the declared cadence"),
    ("not_convertible", "data_fault", "The reading's unit cannot become kWh as the meter is declared"),
    ("refused", "data_fault", "Cleaning refused the reading"),
    ("spread", "data_fault", "The energy of a gap was spread over its intervals"),
    ("duplicate", "notice", "Several different readings came for one interval"),
    ("late", "notice", "The reading came late"),
    ("night_left_on", "consumption", "The night runs like a working hour"),
    ("weekend_as_weekday", "consumption", "A day off runs like a working day"),
    ("constant_offset", "consumption", "Every slot is off by the same amount: baseload, or an offset of the sensor"),
    ("level_change", "consumption", "Consumption moved to another level"),
    ("residual_high", "consumption", "Consumption is above what the meter's past allows"),
    ("residual_low", "consumption", "Consumption is below what the meter's past allows"),
    ("iqr_fence", "consumption", "Consumption is outside the fences of the meter's cluster and weekday"),
    ("unlike_profile", "consumption", "The day or night is unlike the meter's own load profile of the year"),
)
TELLING = ("iqr_fence", "unlike_profile")
"""Rules whose flags inform people and open no event."""

# What cleaning says (`readings.quality.REASONS`), word for word; a test holds the two together.
_RULE_OF_REASON = {
    "gap": "gap",
    "partial": "partial",
    "conflict": "duplicate",
    "several_in_interval": "several_in_interval",
    "not_convertible": "not_convertible",
    "negative": "negative",
    "impossible": "impossible",
    "spike": "spike",
    "stuck": "stuck",
    "zero_run": "zero_run",
    "known_false_zero": "zero_run",
    "spread": "spread",
    "register_reset": "register_reset",
    "register_rollover": "register_reset",
    "register_exchange": "register_reset",
    "register_jump": "register_jump",
}
# What other people's reasons are recognised by, in this order.
_PARTS: tuple[tuple[str, str], ...] = (
    ("jump", "register_jump"),
    ("reset", "register_reset"),
    ("rollover", "register_reset"),
    ("rolled_over", "register_reset"),
    ("exchange", "register_reset"),
    ("register", "register_reset"),
    ("impossible", "impossible"),
    ("capacity", "impossible"),
    ("negative", "negative"),
    ("convert", "not_convertible"),
    ("kbtu", "unit_shift"),
    ("unit", "unit_shift"),
    ("spike", "spike"),
    ("zero", "zero_run"),
    ("stuck", "stuck"),
    ("constant", "stuck"),
    ("spread", "spread"),
    ("duplicate", "duplicate"),
    ("conflict", "duplicate"),
    ("clock", "clock_shift"),
    ("several", "several_in_interval"),
    ("partial", "partial"),
    ("gap", "gap"),
    ("missing", "gap"),
    ("no_reading", "gap"),
    ("absent", "gap"),
    ("late", "late"),
)


def rule_of_reason(reason: str) -> str:
    """Return the rule that a reason of `readings.interval` stands for; one that nothing here knows is `refused`."""
    words = reason.lower().replace(" ", "_")
    known = _RULE_OF_REASON.get(words)
    return known or next((rule for part, rule in _PARTS if part in words), "refused")


def reasons_without_a_rule(reasons: Iterable[str]) -> list[str]:
    """Return the reasons that have no rule of their own, sorted: what a check shows, so that none goes unseen."""
    return sorted({reason for reason in reasons if rule_of_reason(reason) == "refused"})

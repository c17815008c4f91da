"""When a reading is refused: the limits of each rule, and a sentence for each reason that cleaning gives.

The rules themselves are words of `sql/interval.sql`. They refuse only what hardly anyone would argue about, because a
refused value is lost to training; what is merely odd is flagged later, in `anomalies`. Each rule looks back a bounded
time and never ahead, so that a day is judged alone as within a year.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

REASONS = {
    "gap": "The meter reported before, and nothing for this interval.",
    "partial": "The readings cover too little of the interval: under half of it (power), or not all of it (register).",
    "conflict": "Several values came for this interval; the one that was known last is used.",
    "several_in_interval": "Readings came more often than the declared cadence; declare the finer interval.",
    "not_convertible": "The unit cannot become kWh as the meter is declared, for instance gas without calorific value.",
    "negative": "Less than nothing flowed where flow has one direction; the value is refused.",
    "impossible": "More than a fifth above the connection's capacity; the value is refused.",
    "spike": "A hundred times the meter's usual daily peak; the value is refused.",
    "stuck": "The whole day repeats one value on a meter that had always varied; the values are refused.",
    "zero_run": "Half a day or more of zeros on an electricity meter that hardly ever reads zero; they are refused.",
    "known_false_zero": "The source is known to hold false zeros here; the value is refused.",
    "spread": "A register was not read for a while; its energy is spread evenly over the time between.",
    "register_reset": "The register started anew from zero; what it shows since then is the least that flowed.",
    "register_rollover": "The register ran over its last digit and went on from zero; nothing is lost.",
    "register_exchange": "The register fell to a value that cannot have flowed since: another meter; energy unknown.",
    "register_jump": "The register leapt further than can have flowed: another meter or a fault; energy unknown.",
}


class Limits(BaseModel):
    """Limits of the rules; the defaults run as they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    history_days: Annotated[int, Field(ge=1)] = Field(28, description="Days before that say what is usual.")
    least_history_days: Annotated[int, Field(ge=1)] = Field(
        14, description="With fewer known days before, a rule that compares with the past stays silent."
    )
    capacity_margin: Annotated[float, Field(ge=1)] = Field(
        1.2, description="Factor on the capacity above which a value is impossible: connections carry short overloads."
    )
    spike_factor: Annotated[float, Field(gt=1)] = Field(
        100,
        description="Times the 90th percentile of daily peaks; a heat pump after summer reaches tens, not hundreds.",
    )
    zero_run: timedelta = Field(
        timedelta(hours=12), description="Zeros in a row from which they are refused; outages are mostly shorter."
    )
    rare_zero_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.01, description="A meter with more zeros than this is idle at times, and its zeros are believed."
    )
    least_covered: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="Share of an interval that samples of power must cover."
    )
    blip: timedelta = Field(
        timedelta(hours=6), description="A register that is back where it was within this time did not fall."
    )
    jump_factor: Annotated[float, Field(gt=1)] = Field(
        10, description="Times the usual high rate that a register without declared capacity can have taken."
    )
    least_jump_kw: Annotated[float, Field(gt=0)] = Field(
        25, description="Below this mean power nothing is called a jump: what a dwelling's connection carries."
    )


DEFAULT_LIMITS = Limits()

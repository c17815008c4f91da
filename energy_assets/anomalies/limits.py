"""The limits of the detectors, each described; set from what meters do, never from labels of faults."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """Limits of rules, scores and events; the defaults run as they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lookback_days: Annotated[int, Field(ge=14)] = Field(
        56, description="Days of history that judge a day: eight weeks hold eight of each weekday."
    )
    least_history_days: Annotated[int, Field(ge=1)] = Field(
        14, description="With fewer days of history a rule that compares with the past stays silent."
    )
    stuck_hours: Annotated[float, Field(gt=0)] = Field(
        6, description="Shortest constant run that is called stuck, for meters that never repeat a value for long."
    )
    run_factor: Annotated[float, Field(ge=1)] = Field(
        2, description="How many times longer than the meter's usual longest run a constant or zero run must be."
    )
    rare_zero_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.005, description="A meter with fewer zeros than this share has no business with a single zero."
    )
    common_zero_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="A meter with more zeros than this share, on several occasions, is never called a zero run."
    )
    dwindled_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.35, description="Zeros after a day at less than this share of the usual use end a season, and are no outage."
    )
    usual_negative_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.005, description="A meter with more negative readings than this share is a net meter."
    )
    spike_factor: Annotated[float, Field(gt=1)] = Field(
        2.5, description="A spike exceeds the usual daily peak (90th percentile of daily maxima) this many times."
    )
    spike_hours: Annotated[float, Field(gt=0)] = Field(3, description="A spike returns within these hours.")
    shift_factor: Annotated[float, Field(gt=1)] = Field(
        20, description="A level this many times off for longer than a spike is a change of unit."
    )
    capacity_margin: Annotated[float, Field(ge=1)] = Field(
        1.1, description="Factor on the declared capacity above which a reading is impossible."
    )
    late_hours: Annotated[float, Field(gt=0)] = Field(
        26, description="A reading known later than this after its interval is late; a daily file is not."
    )
    flag_strength: Annotated[float, Field(gt=0)] = Field(
        10, description="Strength from which a slot is flagged; events grow on such slots."
    )
    alert_strength: Annotated[float, Field(gt=0)] = Field(
        15,
        description="Strength that an event must reach once to be an alert; set by the count of alerts, not by labels.",
    )
    unnamed_strength: Annotated[float, Field(gt=0)] = Field(
        18, description="As alert_strength, for events without a cause of their own: merely above or below."
    )
    alert_gap_hours: Annotated[float, Field(ge=0)] = Field(
        2, description="Missing readings ask for attention once they add up to so many hours."
    )
    score_scale: Annotated[float, Field(gt=0)] = Field(12, description="Strength at which the score is 1 - 1/e.")
    fault_gap_hours: Annotated[float, Field(gt=0)] = Field(
        6, description="Data faults of one meter closer than this are one event."
    )
    consumption_gap_hours: Annotated[float, Field(gt=0)] = Field(
        36, description="Odd consumption of one sign closer than this is one event: night joins night."
    )
    incident_least_meters: Annotated[int, Field(ge=2)] = Field(
        5, description="Fewest meters of a site that make one incident instead of single events."
    )
    incident_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="Least share of the site's meters that make one incident."
    )
    incident_hours: Annotated[float, Field(gt=0)] = Field(
        3, description="Data faults of a site that begin within these hours belong together; odd consumption: a day."
    )
    alerts_per_meter_month: Annotated[float, Field(gt=0)] = Field(
        1.0, description="Alert budget: new consumption alerts a day are at most this share of the meters, per 30 days."
    )
    least_alerts_a_day: Annotated[int, Field(ge=1)] = Field(
        3, description="Alerts a day that even a small portfolio may have."
    )
    most_alerts_a_day: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="New alerts a day that people look at, consumption and data faults each; none: no such bound.",
    )
    false_discovery_share: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="Largest expected share of chance among a day's consumption alerts; 1: not controlled.",
    )
    null_least_meters: Annotated[int, Field(ge=4)] = Field(
        30, description="With fewer meters of a kind the day itself does not tell how odd a quiet meter is."
    )
    null_median_strength: Annotated[float, Field(gt=0)] = Field(
        8.0, description="How odd the worst slot of a quiet day is, for few meters: the median of real ones."
    )
    null_upper_strength: Annotated[float, Field(gt=0)] = Field(
        20.0, description="As null_median_strength, the 95th percentile."
    )
    suppression_days: Annotated[int, Field(ge=0)] = Field(
        28, description="Days for which a verdict of false or expected silences the same cause on the same meter."
    )


DEFAULT_LIMITS = Limits()
# What the nightly run asks of people: few events, hardly one of them by chance; the others are kept and can be listed.
MORNING_LIMITS = Limits(false_discovery_share=0.2, most_alerts_a_day=12)

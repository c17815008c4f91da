"""What a bill has beside the price of energy, and how a community shares: part of a zone's configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Rule = Literal["d_nem", "mid_market", "supply_demand_ratio", "bill_sharing"]
Key = Literal["proportional", "static", "dynamic"]


class BillTerms(BaseModel):
    """Charges in currency, and what a premise's baseline is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fixed_charge: Annotated[float, Field(ge=0)] = Field(0.0, description="Fixed charge per premise and period.")
    peak_cost_per_kw: Annotated[float, Field(ge=0)] = Field(
        0.0, description="Cost of the zone's highest slot-mean import in the period, currency/kW; shared by who drew."
    )
    flat_feed_in_rate: Annotated[float, Field(ge=0)] = Field(
        0.08, description="Feed-in rate of the flat tariff that bills are compared with, currency/kWh."
    )
    baseline_weeks: Annotated[int, Field(ge=1, le=8)] = Field(
        4, description="The baseline is the mean of the same local time on the same weekday of so many weeks before."
    )


class CommunityTerms(BaseModel):
    """How the members of a zone share what the grid bills them together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Rule | Literal["none"] = Field("d_nem", description="How the grid's bill is shared; none: no community.")
    key: Key = Field("proportional", description="Who gets local energy under mid_market and supply_demand_ratio.")
    shares: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict, description="Weight per premise_id of the keys static and dynamic."
    )
    share_of_others: Annotated[int, Field(ge=0)] = Field(1, description="Weight of premises that shares does not name.")

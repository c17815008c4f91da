"""What a price zone is: its rates, limits, supply and how its people respond, as frozen configuration.

The defaults price any community, because supply capacities are shares of the day's own reference peak. Nothing here
computes a price.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError, field_validator, model_validator

from energy_assets.errors import ConfigError
from energy_assets.prices.blocks import Rate, SupplyBlock
from energy_assets.prices.declared import Frozen, TimeZoneName, faults_of, read_declared
from energy_assets.prices.fitted_supply import SupplyHistory, fitted_blocks
from energy_assets.prices.terms import BillTerms, CommunityTerms

__all__ = ["LegacyHouse", "ProfileGroup", "SupplyBlock", "ZoneConfig", "load_zone"]

Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ProfileGroup(Frozen):
    """People who respond alike. Elasticities are magnitudes at the flat rate."""

    name: str = Field(description="Name of the group.")
    share: Annotated[float, Field(gt=0)] = Field(1.0, description="Weight of the group in the zone's load.")
    own_elasticity: Annotated[float, Field(ge=1e-4, le=1)] = Field(
        0.1, description="Relative loss of load in a slot for a relative rise of its price."
    )
    shift_elasticity: Annotated[float, Field(ge=0, le=2)] = Field(
        0.15, description="Relative load moved to other slots of the day; moving keeps the day's energy."
    )
    hourly_weights: tuple[Share, ...] | None = Field(
        None, description="24 weights by local hour that make the group's profile differ from the zone's."
    )
    clusters: tuple[str, ...] = Field(
        (), description="Clusters of load profiles whose meters the group is; share and hourly_weights are then theirs."
    )
    bill_protection: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Largest rise of the group's day bill over the flat rate, as a share."
    )

    @field_validator("hourly_weights")
    @classmethod
    def _twenty_four(cls, weights: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if weights is not None and (len(weights) != 24 or sum(weights) <= 0):
            raise ValueError("hourly_weights needs 24 values of which one is positive")
        return weights


class LegacyHouse(Frozen):
    """The house that the formula of system 003 prices."""

    region: str = Field("", description="Italian region or city; others have factor 1.")
    members: Annotated[int, Field(ge=1)] = Field(3, description="People in the house.")
    area_m2: Annotated[float, Field(gt=0)] = Field(100.0, description="Floor area.")
    heating_type: Literal["electric", "heat_pump", "natural_gas", "biomass"] = Field(
        "natural_gas", description="Kind of heating."
    )
    year_built: int = Field(2000, description="Year of construction.")
    households: Annotated[int, Field(ge=1)] = Field(1, description="Households that share the zone's load evenly.")


DEFAULT_SUPPLY = (
    SupplyBlock(name="base", price=0.06, carbon_kg_per_kwh=0.05, capacity_share=0.35),
    SupplyBlock(name="mid", price=0.10, carbon_kg_per_kwh=0.35, capacity_share=0.3),
    SupplyBlock(name="gas", price=0.15, carbon_kg_per_kwh=0.45, capacity_share=0.25),
    SupplyBlock(name="peaking", price=0.28, carbon_kg_per_kwh=0.65, capacity_share=0.4),
)
DEFAULT_EXPORT = (SupplyBlock(name="export", price=0.04),)
DEFAULT_GROUPS = (ProfileGroup(name="everybody"),)


class ZoneConfig(Frozen):
    """A price zone. Rates are in currency/kWh; every field has a default that runs."""

    zone_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(
        "community", description="Identifier; it becomes part of topics and file names."
    )
    timezone: TimeZoneName = Field("UTC", description="IANA time zone of the delivery day.")
    currency_code: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = Field("EUR", description="ISO 4217 currency.")
    rule: Literal["welfare", "flat", "system_000", "system_003"] = Field(
        "welfare", description="What makes the curve; the last two are the formulas of the predecessors."
    )
    flat_rate: Annotated[float, Field(gt=0, le=10_000)] = Field(0.30, description="Reference flat rate.")
    floor: Rate = Field(0.05, description="Lowest price that is published.")
    cap: Rate = Field(0.80, description="Highest price that is published.")
    ramp_per_hour: Annotated[float, Field(ge=0)] | None = Field(
        None, description="Largest change of the price an hour; none: without limit."
    )
    capacity_price_per_kw_day: Annotated[float, Field(ge=0)] = Field(
        0.10, description="Cost of the zone's expected peak, currency per kW and day."
    )
    carbon_price_per_t: Annotated[float, Field(ge=0)] = Field(80.0, description="Price of carbon, currency/t CO2e.")
    supply_kind: Literal["blocks", "wholesale", "fitted"] = Field(
        "blocks", description="Merit order below, wholesale prices, or a merit order learned from supply_history."
    )
    market: str | None = Field(None, description="Market whose prices a zone of supply_kind wholesale takes at night.")
    supply_history: SupplyHistory | None = Field(None, description="What supply_kind fitted learns from.")
    supply: tuple[SupplyBlock, ...] = Field(DEFAULT_SUPPLY, min_length=1, description="Merit order of imports.")
    scarcity_price: Rate = Field(1.0, description="Price past the last block of the merit order.")
    export: tuple[SupplyBlock, ...] = Field(DEFAULT_EXPORT, description="What exported energy earns; past it: nothing.")
    wholesale_spread: Annotated[float, Field(ge=0)] = Field(
        0.005, description="Import costs half of it more and export earns half of it less than wholesale_price."
    )
    reference_peak_kw: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Power that capacity shares refer to. Default: the day's highest median net load."
    )
    groups: tuple[ProfileGroup, ...] = Field(DEFAULT_GROUPS, min_length=1, description="Who responds and how.")
    export_rule: Literal["marginal", "share", "fixed"] = Field(
        "marginal", description="Feed-in price: the marginal value of energy, a share of the price, or a fixed rate."
    )
    export_share: Annotated[float, Field(ge=0, le=1)] = Field(0.5, description="For export_rule share.")
    export_rate: Rate = Field(0.08, description="For export_rule fixed.")
    legacy_house: LegacyHouse = Field(LegacyHouse(), description="For rule system_003.")
    bill: BillTerms = Field(BillTerms(), description="Charges of a bill beside the price of energy.")
    community: CommunityTerms = Field(CommunityTerms(), description="How members share what the grid bills them.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.floor > self.cap:
            raise ValueError(f"floor {self.floor} is above cap {self.cap}")
        if self.supply_kind == "fitted" and self.supply_history is None:
            raise ValueError("supply_kind fitted needs supply_history, a table with the file to learn from")
        cheapest = min(block.price + self.carbon_price * block.carbon_kg_per_kwh for block in self.supply)
        dearest = max((block.price for block in self.export), default=cheapest)
        if self.supply_kind != "wholesale" and dearest > cheapest:
            raise ValueError(f"export at {dearest} earns more than the cheapest import costs ({cheapest})")
        named = [cluster for group in self.groups for cluster in group.clusters]
        if len(named) > len(set(named)):
            raise ValueError(f"cluster {max(named, key=named.count)!r} is in two groups")
        return self

    @property
    def carbon_price(self) -> float:
        """Return the price of carbon in currency/kg."""
        return self.carbon_price_per_t / 1000.0

    @property
    def zoneinfo(self) -> ZoneInfo:
        """Return the time zone of the delivery day."""
        return ZoneInfo(self.timezone)


def load_zone(path: Path) -> ZoneConfig:
    """Return the zone that a TOML file declares.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or a field is unknown or out of range.
    """
    zone = read_declared(path, model=ZoneConfig, defaults={}, subject="zone")
    return zone if zone.supply_history is None or zone.supply_kind != "fitted" else _learned(zone, path=path)


def _learned(zone: ZoneConfig, *, path: Path) -> ZoneConfig:
    """Return the zone with the merit order of its history; exports that nobody declared earn no more than it costs."""
    assert zone.supply_history is not None
    blocks = fitted_blocks(zone.supply_history, folder=path.parent)
    declared = zone.model_dump(exclude_unset=True) | {"supply": blocks}
    if "export" not in declared:
        cheapest = min(block.price for block in blocks)
        declared["export"] = tuple(
            block.model_copy(update={"price": min(block.price, cheapest)}) for block in DEFAULT_EXPORT
        )
    try:
        return ZoneConfig.model_validate(declared)
    except ValidationError as error:
        raise ConfigError(faults_of(error, path=path, subject="zone")) from error

"""A step of a merit order. What a zone makes of its steps stands in `zones`, `supply` and `fitted_supply`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from energy_assets.prices.declared import Frozen

Rate = Annotated[float, Field(ge=-10_000, le=10_000, allow_inf_nan=False)]


class SupplyBlock(Frozen):
    """A step of the merit order, or of the exports: so much power at one price."""

    name: str = Field(description="Name that explanations use.")
    price: Rate = Field(description="Price of the energy without carbon, currency/kWh.")
    carbon_kg_per_kwh: Annotated[float, Field(ge=0, le=3)] = Field(0.0, description="Greenhouse gas, kg CO2e/kWh.")
    capacity_kw: Annotated[float, Field(gt=0)] | None = Field(None, description="Power of the block, kW.")
    capacity_share: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Power as a share of the reference peak, instead of kW. Neither: without limit."
    )

    @model_validator(mode="after")
    def _one_capacity(self) -> Self:
        if self.capacity_kw is not None and self.capacity_share is not None:
            raise ValueError(f"block {self.name!r} gives capacity_kw and capacity_share; give one of them")
        return self

    def capacity(self, *, reference_peak_kw: float) -> float:
        """Return the power of the block in kW; infinite when it has no limit."""
        if self.capacity_kw is not None:
            return self.capacity_kw
        return float("inf") if self.capacity_share is None else self.capacity_share * reference_peak_kw

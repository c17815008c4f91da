"""What is trained: the family of a model, the features it may use, and its budget; and what every model can do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, Protocol

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, field_validator

from energy_assets.errors import ModelError
from energy_assets.features.matrix import FEATURE_GROUPS, USUAL_GROUPS

Family = Literal["blend", "trees", "trees_only", "linear", "last_week", "weekday_mean", "analogue"]
"""Experts blended; linear and trees on its residual, either of them alone; seasonal baselines; thirteen analogues."""
_COME_OF = {"weather": ("wind_chill",)}


class Model(Protocol):
    """A fitted model. The module of its class has `load(folder)`, which returns what `save` wrote."""

    def predict(self, features: pl.DataFrame) -> pl.DataFrame:
        """Return KEY and q05 .. q95 in kWh for every row, never crossing; null where the features do not suffice."""

    def save(self, folder: Path) -> None:
        """Write the model into a folder that exists."""


class ModelSpec(BaseModel):
    """How a model is made. `bench/accuracy.py` measures what the defaults reach and how long they take."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Family = Field("blend", description="What kind of model.")
    groups: tuple[str, ...] = Field(USUAL_GROUPS, description="Groups of features that it may use.")
    training_rows: Annotated[int, Field(ge=1000)] = Field(
        120_000, description="Most rows that the location trees learn from; a random subset where there are more."
    )
    spread_rows: Annotated[int, Field(ge=1000)] = Field(
        60_000, description="Most rows that the quantiles of the residual are learned from."
    )
    rounds: Annotated[int, Field(ge=1)] = Field(220, description="Most trees of the location; stopped early.")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(0.08, description="Step of the location trees.")
    leaves: Annotated[int, Field(ge=2)] = Field(48, description="Leaves of a location tree.")
    spread_rounds: Annotated[int, Field(ge=1)] = Field(40, description="Trees per quantile of the residual.")
    fold_rows: Annotated[int, Field(ge=1000)] = Field(
        50_000, description="Most rows that the experts of a fold of a blend learn from."
    )
    borders: tuple[float, ...] = Field(
        (0.6, 0.8), description="Shares of the issues before which the folds of a blend learn."
    )
    column_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="Share of the features that a tree of a blend may choose from."
    )
    device: Literal["cpu", "cuda"] = Field("cpu", description="Where boosters of a blend are grown.")
    matrix_gb: Annotated[float, Field(ge=0)] = Field(
        4.0, description="Largest matrix of a blend, a byte a cell, that is held in memory; larger ones lie in files."
    )
    calibration_share: Annotated[float, Field(gt=0, lt=0.6)] = Field(
        0.2, description="Share of the issues, the last ones, that are held out to stop early and to calibrate."
    )

    @field_validator("groups")
    @classmethod
    def _known(cls, groups: tuple[str, ...]) -> tuple[str, ...]:
        unknown = set(groups) - set(FEATURE_GROUPS)
        if unknown:
            raise ValueError(f"feature groups {sorted(unknown)} are unknown; choose from {list(FEATURE_GROUPS)}")
        return groups

    @property
    def features(self) -> tuple[str, ...]:
        """Return the feature columns of the groups, in order."""
        return tuple(name for group in self.groups for name in FEATURE_GROUPS[group])

    def without(self, group: str) -> ModelSpec:
        """Return the same specification without a group of features, and those that come of it."""
        gone = {group, *_COME_OF.get(group, ())}
        return self.model_copy(update={"groups": tuple(name for name in self.groups if name not in gone)})

    def parameters(self) -> dict[str, float | int | str]:
        """Return the specification as flat parameters, as an experiment tracker takes them."""
        return {**self.model_dump(exclude={"groups"}), "groups": ",".join(self.groups)}


QUICK_SPEC = ModelSpec(
    training_rows=36_000,
    fold_rows=12_000,
    learning_rate=0.17,
    rounds=72,
    leaves=32,
    spread_rows=20_000,
    spread_rounds=22,
)
"""At most a third of the time, for errors that are a few percent larger: a first look, not a champion that stays."""

SPECS = {"full": ModelSpec(), "quick": QUICK_SPEC}
"""Specifications by the setting `training_effort`."""


def write_json(folder: Path, content: dict[str, object]) -> None:
    """Write `model.json` into the folder of a model; floats keep every bit."""
    (folder / "model.json").write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")


def read_json(folder: Path) -> dict[str, object]:
    """Return the content of `model.json`.

    Raises:
        ModelError: the file is missing or torn.
    """
    try:
        content: dict[str, object] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} holds no whole model: {error}; train and save it again.") from error
    return content

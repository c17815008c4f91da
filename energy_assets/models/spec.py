"""What a model is made of: feature groups, size of the trees, share kept for calibration. Frozen and described."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from energy_assets.features.matrix import FEATURE_GROUPS


class ModelSpec(BaseModel):
    """Everything that decides what is learned, but for the data and the seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    groups: tuple[str, ...] = Field(tuple(FEATURE_GROUPS), description="Groups of features that the model may use.")
    rounds: Annotated[int, Field(ge=1)] = Field(160, description="Boosting rounds at most.")
    depth: Annotated[int, Field(ge=1, le=12)] = Field(6, description="Depth of a tree.")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(0.1, description="Shrinkage of a round.")
    patience: Annotated[int, Field(ge=1)] = Field(15, description="Rounds without gain before boosting stops.")
    row_share: Annotated[float, Field(gt=0, le=1)] = Field(0.5, description="Share of rows that a tree sees.")
    calibration_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="Share of the issues, the newest, that stop the boosting and set the width of the bands."
    )

    def without(self, group: str) -> ModelSpec:
        """Return the same specification without a group of features."""
        return self.model_copy(update={"groups": tuple(name for name in self.groups if name != group)})

    @property
    def features(self) -> tuple[str, ...]:
        """Return the names of the features in order."""
        return tuple(name for group in self.groups for name in FEATURE_GROUPS[group])

    def parameters(self) -> dict[str, float | int | str]:
        """Return the specification as flat parameters of an MLflow run."""
        return {**self.model_dump(exclude={"groups"}), "groups": ",".join(self.groups)}

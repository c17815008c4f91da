"""A complete small model for tests of the registry and the ladder: quantiles are factors on the scale of a meter."""

import json
from dataclasses import dataclass
from pathlib import Path

import polars as pl

FACTORS = {"q05": 0.7, "q10": 0.8, "q25": 0.9, "q50": 1.0, "q75": 1.1, "q90": 1.2, "q95": 1.3}


@dataclass(frozen=True)
class ConstantModel:
    level: float

    def predict(self, features: pl.DataFrame) -> pl.DataFrame:
        quantiles = {name: pl.col("scale_kwh") * factor * self.level for name, factor in FACTORS.items()}
        return features.select("meter_id", "issued_at_utc", "starts_at_utc", **quantiles)

    def save(self, folder: Path) -> None:
        (folder / "model.json").write_text(json.dumps({"level": self.level}))


def load(folder: Path) -> ConstantModel:
    return ConstantModel(**json.loads((folder / "model.json").read_text()))

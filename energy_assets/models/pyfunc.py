"""How MLflow serves a registered model: the loader module named in its `MLmodel` file, and frames on the wire.

MLflow speaks pandas with time stamps that have no zone; both are UTC here. Nothing in this module imports MLflow.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from energy_assets.contracts import UTC_TIME
from energy_assets.models.archive import FULL, Model, read_archive

if TYPE_CHECKING:
    import pandas as pd

_SERVED_WITH = ("polars", "numpy", "pyarrow", "pandas", "xgboost-cpu")


class ServedModel:
    """The `predict` that MLflow calls: a frame of features in, key and quantiles in kWh out."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def predict(self, model_input: pd.DataFrame, params: dict[str, object] | None = None) -> pd.DataFrame:
        """Return the quantiles of the full variant for the features in `model_input`; `params` has no meaning here."""
        del params
        features = pl.from_pandas(model_input).with_columns(pl.col(pl.Datetime).cast(pl.Datetime("us")))
        features = features.with_columns(pl.col(pl.Datetime("us")).dt.replace_time_zone("UTC"))
        return to_wire(self._model.predict(features))


def _load_pyfunc(path: str) -> ServedModel:
    """Return the model in the archive at `path`; MLflow calls this by its name."""
    return ServedModel(read_archive(Path(path))[FULL])


def to_wire(frame: pl.DataFrame) -> pd.DataFrame:
    """Return a frame as MLflow takes it: plain text, UTC time stamps without zone, every number as double."""
    numbers = pl.col(name for name, dtype in frame.schema.items() if dtype.is_numeric() or dtype == pl.Boolean)
    texts = pl.col(name for name, dtype in frame.schema.items() if dtype in (pl.Categorical, pl.Enum))
    plain = frame.with_columns(numbers.cast(pl.Float64), texts.cast(pl.String)).with_columns(
        pl.col(UTC_TIME).dt.replace_time_zone(None)
    )
    table = plain.to_pandas()
    table.columns = table.columns.astype(object)
    return table.astype({name: object for name, dtype in plain.schema.items() if dtype == pl.String})


def requirements() -> list[str]:
    """Return the packages that serve the model, pinned as installed; given to MLflow, which else looks for seconds."""
    return [f"{name}=={metadata.version(name)}" for name in ("energy_assets", *_SERVED_WITH)]

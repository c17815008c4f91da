"""The signature that MLflow shows of a model: columns and types of what goes in and what comes out."""

from __future__ import annotations

from typing import Any

import polars as pl

_WIRE_TYPES = {"String": "string", "Categorical": "string", "Enum": "string", "Datetime": "datetime"}


def signature_of(example: pl.DataFrame, predicted: pl.DataFrame) -> Any:
    """Return the signature of a model that makes `predicted` of `example`; numbers may be missing, others not."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    def schema(frame: pl.DataFrame) -> Any:
        kinds = {name: _WIRE_TYPES.get(str(dtype.base_type()), "double") for name, dtype in frame.schema.items()}
        return Schema([ColSpec(DataType[kind], name, required=kind != "double") for name, kind in kinds.items()])

    return ModelSignature(inputs=schema(example), outputs=schema(predicted))

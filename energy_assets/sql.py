"""A query is the text of one `.sql` file and the values for its `$parameters`; text is never built from values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources


@dataclass(frozen=True, kw_only=True)
class Query:
    """One SQL statement with its parameters, ready for a DuckDB connection to run."""

    text: str
    parameters: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def from_file(cls, package: str, name: str, **parameters: object) -> Query:
        """Return the query in `<package>/sql/<name>.sql`, for instance `("energy_assets.readings", "intervals")`."""
        return cls(text=_read(package, name), parameters=parameters)


@cache
def _read(package: str, name: str) -> str:
    return resources.files(package).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")

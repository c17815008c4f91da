"""What the registry says of a model: a version and its facts, a promotion, a loaded model, or why there is none.

Plain values without MLflow, so that whoever reads them need not load it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from energy_assets.errors import ModelError
from energy_assets.models.archive import Model

Alias = Literal["champion", "challenger", "previous_champion"]
Reason = Literal[
    "registry_empty", "no_champion", "registry_unreachable", "archive_unavailable", "model_broken", "learned_later"
]
How = Literal["first", "evidence", "by hand", "forced", "rollback"]
"""How a version became champion: the first one, on evidence by training, by a person on evidence or without, back."""


class UnresolvedModelError(ModelError):
    """No model can be had from the registry; `reason` is what the forecast rows of lower rungs say."""

    def __init__(self, message: str, *, reason: Reason) -> None:
        super().__init__(message)
        self.reason: Reason = reason


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """A registered version, the aliases it got on registration, and why it did not become champion."""

    name: str
    version: int
    aliases: tuple[Alias, ...]
    not_promoted_because: str | None
    run_id: str


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A version in memory. `notice` tells of trouble that did not prevent it from loading."""

    name: str
    version: int
    variants: Mapping[str, Model]
    tags: Mapping[str, str]
    notice: str | None = None

    @property
    def model_version(self) -> str:
        """Return `name/version`, as forecasts record it."""
        return f"{self.name}/{self.version}"

    @property
    def learned_until_utc(self) -> datetime:
        """Return the instant from which on it has seen nothing.

        Raises:
            ModelError: the version does not say.
        """
        return learned_until(self.tags, model_version=self.model_version)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A version as a list shows it: aliases now, tags, what was measured, and when it was registered."""

    name: str
    version: int
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    registered_at_utc: datetime


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """One change of champion: which version took over from which, when, how and why, with the figures at hand."""

    name: str
    version: int
    previous: int | None
    at_utc: datetime
    how: How
    reason: str
    archive_sha256: str
    figures: Mapping[str, str]

    def text(self) -> str:
        """Return everything but the name as JSON, as the registry keeps it: what a person looks for comes first."""
        return json.dumps(
            {
                "version": self.version,
                "previous": self.previous,
                "how": self.how,
                "reason": self.reason,
                "at_utc": self.at_utc.isoformat(),
                "figures": dict(self.figures),
                "archive_sha256": self.archive_sha256,
            },
            ensure_ascii=False,
        )


def promotion_from(name: str, text: str) -> Promotion:
    """Return the promotion that `text` was made from."""
    content = json.loads(text)
    return Promotion(name=name, **{**content, "at_utc": datetime.fromisoformat(content["at_utc"])})


def registered_name(commodity: str, *, interval_minutes: int) -> str:
    """Return the name of the registered model of a commodity and interval class, as `load-electricity-60min`."""
    return f"load-{commodity.replace('_', '-')}-{interval_minutes}min"


def learned_until(tags: Mapping[str, str], *, model_version: str) -> datetime:
    """Return the instant from which on a version has seen nothing, from its tags.

    Raises:
        ModelError: the tags do not say.
    """
    try:
        if "training_ends_at_utc" not in tags:  # versions that were registered before this tag was
            return datetime.fromisoformat(f"{tags['training_window'].split('..')[1]}:00+00:00")
        return datetime.fromisoformat(tags["training_ends_at_utc"])
    except (KeyError, IndexError, ValueError) as error:
        raise ModelError(
            f"{model_version} does not say up to when it learned, so nothing shows which days it has not seen; "
            f"train a model of its kind again."
        ) from error

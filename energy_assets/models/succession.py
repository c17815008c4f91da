"""Who is champion, who was, and how that came about: aliases of a registered model and the record of its promotions.

Works on a client of the registry that is given; the record is kept as tags of the registered model, one a promotion.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from energy_assets.models.versions import How, Listed, Promotion, promotion_from

CHAMPION_TAG = "champion"
"""Tag of a registered model: who is champion, since when, and how good it was."""
_RECORD = "promotion."
_FIGURES = ("compared_with", "skill", "skill_interval", "coverage_80", "coverage_80_of_champion", "judged_on")
_SHOWN = 12


def crown(client: Any, name: str, version: Any, *, before: Any, how: How, reason: str, at_utc: datetime) -> Promotion:
    """Make a version champion, keep the one before under its alias, record why, and return the record.

    The record comes first: a champion that nothing explains would be worse than a record whose alias is set next.
    """
    tags = dict(version.tags)
    figures = {key: tags[key] for key in _FIGURES if key in tags}
    promotion = Promotion(
        name=name,
        version=int(version.version),
        previous=None if before is None else int(before.version),
        at_utc=at_utc.astimezone(UTC),
        how=how,
        reason=reason,
        archive_sha256=tags.get("archive_sha256", ""),
        figures=figures if how != "rollback" else {},
    )
    record = [*promotions_of(client, name), promotion]
    client.set_registered_model_tag(name, f"{_RECORD}{len(record):04d}", promotion.text())
    if before is not None:
        client.set_registered_model_alias(name, "previous_champion", before.version)
    client.set_registered_model_alias(name, "champion", version.version)
    if how != "forced" and "not_promoted_because" in tags:
        client.delete_model_version_tag(name, version.version, "not_promoted_because")
    client.set_model_version_tag(name, version.version, "champion_since", f"{at_utc:%Y-%m-%d %H:%M}")
    client.set_registered_model_tag(name, CHAMPION_TAG, _shown_beside_the_name(client, version, at_utc=at_utc))
    client.set_model_version_tag(name, version.version, "champion_because", reason)
    client.update_registered_model(name, description="\n".join([about(name), "", *_told(record)]))
    return promotion


def _shown_beside_the_name(client: Any, version: Any, *, at_utc: datetime) -> str:
    """Return what the list of models shows of a champion: since when, and how good it was on unseen days."""
    metrics = client.get_run(version.run_id).data.metrics if version.run_id else {}
    shares = {"NMAE": metrics.get("nmae"), "in 80 % band": metrics.get("coverage_80")}
    said = [f"{name} {value:.1%}" for name, value in shares.items() if value is not None]
    return ", ".join([f"version {version.version} since {at_utc:%Y-%m-%d}", *said])


def _told(record: Sequence[Promotion]) -> list[str]:
    """Return the newest promotions as a list in Markdown, newest first."""
    lines = [
        f"- {each.at_utc:%Y-%m-%d %H:%M} UTC: version {each.version} "
        f"{'' if each.previous is None else f'after {each.previous} '}({each.how}) — {each.reason}"
        for each in reversed(record[-_SHOWN:])
    ]
    return ["**Champions so far**", "", *lines]


def promotions_of(client: Any, name: str) -> list[Promotion]:
    """Return the promotions of a registered model, oldest first."""
    tags = client.get_registered_model(name).tags
    return [promotion_from(name, tags[key]) for key in sorted(tags) if key.startswith(_RECORD)]


def versions_of(client: Any, name: str) -> list[Listed]:
    """Return the versions of a registered model, newest first, with the aliases that they have now."""
    by_version: dict[int, list[str]] = {}
    for alias, version in client.get_registered_model(name).aliases.items():
        by_version.setdefault(int(version), []).append(alias)
    found = client.search_model_versions(f"name='{name}'", max_results=1000)
    return [
        listed(client, each, aliases=by_version.get(int(each.version), []))
        for each in sorted(found, key=lambda each: -int(each.version))
    ]


def listed(client: Any, version: Any, *, aliases: Sequence[str]) -> Listed:
    """Return a version as a list shows it."""
    return Listed(
        name=version.name,
        version=int(version.version),
        aliases=tuple(sorted(aliases)),
        tags=dict(version.tags),
        metrics=dict(client.get_run(version.run_id).data.metrics) if version.run_id else {},
        registered_at_utc=datetime.fromtimestamp(version.creation_timestamp / 1000, tz=UTC),
    )


def about(name: str) -> str:
    """Return the description of a registered model, in Markdown, as MLflow shows it above its versions."""
    if not name.startswith("load-"):
        return f"{name}: see the card of each version."
    commodity, interval = name.removeprefix("load-").rsplit("-", 1)
    return "\n".join(
        [
            f"Quantile forecasts of **{commodity.replace('-', ' ')}** meters with readings every "
            f"**{interval.removesuffix('min')} minutes**: kWh per interval for the delivery day, for all meters of "
            f"this class at once.",
            "",
            "- `champion` makes tonight's forecasts; `challenger` is the newest version; `previous_champion` is what "
            "`energy models rollback` brings back.",
            "- A challenger becomes champion only if a paired block bootstrap on days that neither model has seen "
            "favours it and its 80 % band holds what it claims. The tags `verdict`, `skill_…`, `coverage_…` and "
            "`judged_…` of a version are that evidence; the tags `promotion.…` of this model record every change.",
            "- Each version's description is its card; its run holds metrics, plots and `model_card.html`, and from "
            "then on its error in use (`live/…`), night after night.",
            "",
            f"`energy models list` · `energy models compare {name}` · `energy models rollback {name} --reason …`",
        ]
    )

"""What is known of a registered model: the facts of its training, its metrics, and the card that a person reads.

Pure text and numbers; the registry stores them, nothing here knows where.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from itertools import groupby

from energy_assets.features.matrix import FEATURE_GROUPS
from energy_assets.models.promotion import Decision
from energy_assets.models.ranges import Ranges, to_text

GATE_BASELINE = "last_week"
GATE_METRIC = "nmae"

_PAGE = """<!doctype html><meta charset="utf-8"><title>Model card</title>
<style>body{{font:14px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}}
table{{border-collapse:collapse}}td,th{{padding:.2rem .7rem;border-bottom:1px solid #ddd;text-align:right}}
td:first-child,th:first-child{{text-align:left}}img{{max-width:100%}}figure{{margin:1.5rem 0}}code{{color:#555}}</style>
{body}{pictures}
"""

Metrics = Mapping[str, Mapping[str, float]]
"""Metric values on unseen days by method; the method `model` is the candidate, all others are baselines."""


@dataclass(frozen=True, kw_only=True)
class TrainingFacts:
    """Where a model comes from: enough to train it again and get the same."""

    lake_snapshot_id: int
    git_commit: str
    feature_columns: tuple[str, ...]
    features_hash: str
    data_hash: str
    training_starts_at_utc: datetime
    training_ends_at_utc: datetime
    training_rows: int
    meters: int
    seed: int
    unseen_starts_at_utc: datetime
    unseen_ends_at_utc: datetime
    parameters: Mapping[str, float | int | str] = field(default_factory=dict)
    purpose: str = "quantiles of energy per interval for the delivery day, kWh"
    feature_ranges: Ranges = field(default_factory=dict)

    def tags(self) -> dict[str, str]:
        """Return the facts as tags of a model version, every value as text."""
        known = {"feature_ranges": to_text(self.feature_ranges)} if self.feature_ranges else {}
        return known | {
            "lake_snapshot_id": str(self.lake_snapshot_id),
            "git_commit": self.git_commit,
            "feature_columns": ",".join(self.feature_columns),
            "features_hash": self.features_hash,
            "data_hash": self.data_hash,
            "training_ends_at_utc": self.training_ends_at_utc.isoformat(),
            "unseen_ends_at_utc": self.unseen_ends_at_utc.isoformat(),
            "training_window": _window(self.training_starts_at_utc, self.training_ends_at_utc),
            "unseen_window": _window(self.unseen_starts_at_utc, self.unseen_ends_at_utc),
            "training_rows": str(self.training_rows),
            "meters": str(self.meters),
            "seed": str(self.seed),
        }


def skill(metrics: Metrics, *, baseline: str, metric: str = GATE_METRIC) -> float | None:
    """Return `1 - model / baseline` of an error metric: above 0 is better than the baseline; None if not measured."""
    ours, theirs = metrics.get("model", {}).get(metric), metrics.get(baseline, {}).get(metric)
    if ours is None or theirs is None or not theirs > 0:
        return None
    return 1.0 - ours / theirs


def flat_metrics(metrics: Metrics) -> dict[str, float]:
    """Return metrics under the names that MLflow groups by: `nmae`, `skill/last_week`, `last_week/nmae`."""
    flat = dict(metrics.get("model", {}))
    for baseline, values in metrics.items():
        if baseline == "model":
            continue
        flat |= {f"{baseline}/{metric}": value for metric, value in values.items()}
        gained = skill(metrics, baseline=baseline)
        flat |= {} if gained is None else {f"skill/{baseline}": gained}
    return flat


def judge_first_version(metrics: Metrics) -> str | None:
    """Return why a first version must not become champion, or None when it beats last week on unseen days."""
    gained = skill(metrics, baseline=GATE_BASELINE)
    if gained is None:
        return f"not_measured: no {GATE_METRIC} of the model and of {GATE_BASELINE} on unseen days"
    if not gained > 0:
        return f"worse_than_{GATE_BASELINE}: skill {gained:+.1%} in {GATE_METRIC} on unseen days"
    return None


def decision_by_metrics(metrics: Metrics, *, has_champion: bool) -> Decision:
    """Return what becomes of a version that nobody compared: its metrics judge a first one, a later one waits."""
    if has_champion:
        return Decision(is_promoted=False, is_first=False, verdict="stays challenger: not compared with the champion")
    obstacle = judge_first_version(metrics)
    said = f"champion, first version and better than {GATE_BASELINE}" if obstacle is None else obstacle
    return Decision(is_promoted=obstacle is None, is_first=True, verdict=said)


def card_page(text: str, *, plots: Mapping[str, bytes]) -> str:
    """Return a card with its plots as one HTML page that needs nothing else, as MLflow shows it among the artifacts."""
    pictures = "".join(
        f'<figure><img alt="{escape(name)}" src="data:image/png;base64,{b64encode(content).decode()}"></figure>'
        for name, content in plots.items()
    )
    return _PAGE.format(body=_html_of(text), pictures=pictures)


def card(name: str, *, facts: TrainingFacts, metrics: Metrics, verdict: str) -> str:
    """Return the model card of a version in Markdown, as MLflow shows it beside the version.

    Its first line is plain text: lists of versions show it as it is.
    """
    return "\n".join(
        [
            headline(name, facts=facts, metrics=metrics),
            "",
            f"**Decision**: {verdict}.",
            "",
            f"### On days it has not seen, {_days(facts.unseen_starts_at_utc, facts.unseen_ends_at_utc)}",
            "",
            *_metrics_table(metrics),
            "",
            "Errors are medians over meters, in percent of each meter's mean energy (RMSLE: of log(1 + kWh)); pinball "
            "is the mean over q10, q50 and q90, rCRPS in percent of the range of the readings. Skill is 1 - error / "
            "error of the other method, above 0 where this model is better.",
            "",
            "### Where it comes from",
            "",
            f"- Data: {facts.training_rows:,} rows of {facts.meters:,} meters, "
            f"{_days(facts.training_starts_at_utc, facts.training_ends_at_utc)} (UTC), lake snapshot "
            f"{facts.lake_snapshot_id}, hash `{facts.data_hash[:12]}`",
            f"- Code: commit `{facts.git_commit[:12]}`, seed {facts.seed}",
            f"- Parameters: {', '.join(f'{key} {value}' for key, value in facts.parameters.items()) or 'defaults'}",
            "",
            f"### Its {len(facts.feature_columns)} features, hash `{facts.features_hash[:12]}`",
            "",
            *_features_list(facts.feature_columns),
        ]
    )


def headline(name: str, *, facts: TrainingFacts, metrics: Metrics) -> str:
    """Return in one line of plain text what a version is and how good it was on unseen days."""
    ours, theirs = metrics.get("model", {}), metrics.get(GATE_BASELINE, {})
    said = [f"{name}: {facts.purpose}"]
    if GATE_METRIC in ours:
        rival = f" (last week {theirs[GATE_METRIC]:.1%})" if GATE_METRIC in theirs else ""
        said.append(f"NMAE {ours[GATE_METRIC]:.1%}{rival}")
    if "coverage_80" in ours:
        said.append(f"{ours['coverage_80']:.0%} in the 80 % band")
    return "; ".join(said) + "."


_SHOWN = {
    "nmae": "NMAE",
    "nrmse": "NRMSE",
    "pinball": "pinball",
    "crps": "CRPS",
    "rcrps": "rCRPS",
    "bias": "bias",
    "rmsle": "RMSLE",
    "coverage_80": "in 80 % band",
    "coverage_90": "in 90 % band",
}
"""Names of metrics in the order in which a person reads them; others follow under their own."""
_NO_SHARES = {"rmsle"}


def _metrics_table(metrics: Metrics) -> list[str]:
    present = {metric for values in metrics.values() for metric in values}
    names = [*(name for name in _SHOWN if name in present), *sorted(present - set(_SHOWN))]
    gate = _SHOWN[GATE_METRIC]
    header = f"| method | {' | '.join(_SHOWN.get(name, name) for name in names)} | skill in {gate} against it |"
    rows = [
        f"| {_METHODS.get(method, method.replace('_', ' '))} | {_cells(metrics, method, names)} |" for method in metrics
    ]
    return [header, "|---|" + "---:|" * (len(names) + 1), *rows]


_METHODS = {"model": "**this model**", "without_weather": "this model without weather"}


def _cells(metrics: Metrics, method: str, names: Sequence[str]) -> str:
    def cell(name: str) -> str:
        value = metrics[method].get(name)
        if value is None:
            return ""
        return f"{value:.1%}" if name in _SHOWN and name not in _NO_SHARES else f"{value:.4g}"

    gained = None if method == "model" else skill(metrics, baseline=method)
    return " | ".join([*map(cell, names), "" if gained is None else f"{gained:+.1%}"])


def _features_list(columns: Sequence[str]) -> list[str]:
    """Return the features as a list in Markdown, one line a group."""
    group_of = {name: group for group, names in FEATURE_GROUPS.items() for name in names}
    groups: dict[str, list[str]] = {}
    for name in columns:
        groups.setdefault(group_of.get(name, "other"), []).append(name)
    return [f"- {group}: {', '.join(f'`{name}`' for name in names)}" for group, names in groups.items()]


def _days(starts_at_utc: datetime, ends_at_utc: datetime) -> str:
    return f"{starts_at_utc:%Y-%m-%d} to {ends_at_utc:%Y-%m-%d}"


def _window(starts_at_utc: datetime, ends_at_utc: datetime) -> str:
    return f"{starts_at_utc:%Y-%m-%d %H:%M}..{ends_at_utc:%Y-%m-%d %H:%M}"


def _html_of(text: str) -> str:
    """Return a card's Markdown, which knows headings, paragraphs, lists, tables, `code` and **bold**, as HTML."""
    blocks = (list(lines) for is_blank, lines in groupby(text.splitlines(), key=lambda line: not line) if not is_blank)
    return "\n".join(map(_block, blocks))


def _block(lines: Sequence[str]) -> str:
    if lines[0].startswith("|"):
        return _table(lines)
    if lines[0].startswith("### "):
        return f"<h3>{_spans(lines[0].removeprefix('### '))}</h3>"
    if lines[0].startswith("- "):
        items = "".join(f"<li>{_spans(line.removeprefix('- '))}</li>" for line in lines)
        return f"<ul>{items}</ul>"
    return f"<p>{_spans(' '.join(lines))}</p>"


def _table(lines: Sequence[str]) -> str:
    def cells(line: str, tag: str) -> str:
        return "".join(f"<{tag}>{_spans(cell.strip())}</{tag}>" for cell in line.strip("|").split("|"))

    head, body = lines[0], lines[2:]
    rows = "".join(f"<tr>{cells(line, 'td')}</tr>" for line in body)
    return f"<table><tr>{cells(head, 'th')}</tr>{rows}</table>"


def _spans(text: str) -> str:
    return "".join(_marked(escape(text)))


def _marked(text: str) -> Iterator[str]:
    """Yield a text with `code` and **bold** as elements; marks come in pairs."""
    for index, part in enumerate(text.split("**")):
        bold = f"<b>{part}</b>" if index % 2 else part
        yield "".join(f"<code>{piece}</code>" if place % 2 else piece for place, piece in enumerate(bold.split("`")))

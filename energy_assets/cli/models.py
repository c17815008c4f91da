"""Commands on registered models: list, history, compare, promote, rollback, train, prune."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from energy_assets.cli.root import app, console
from energy_assets.settings import load_settings

if TYPE_CHECKING:
    from energy_assets.models.promotion import Decision
    from energy_assets.models.registry import Registry
    from energy_assets.models.versions import Listed

models = typer.Typer(help="Registered models: who is champion, why, and what to do about it.", no_args_is_help=True)
app.add_typer(models, name="models")

Name = Annotated[
    str, typer.Argument(help="Registered model, as load-electricity-60min; `energy models list` shows them.")
]
Why = Annotated[str, typer.Option(help="Why; it is recorded with the change.")]
_SHOWN_VERSIONS = 5


@models.command("list")
def list_models(
    name: Annotated[str | None, typer.Argument(help="One registered model. Default: all.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All versions, not the newest five and those with an alias.")
    ] = False,
) -> None:
    """Show versions, what they are, what they learned from, how good they were on unseen days, and the decision."""
    registry = _registry()
    names = [_known(registry, name)] if name else registry.names()
    for each in names:
        versions = registry.versions(each)
        shown = [one for index, one in enumerate(versions) if every or one.aliases or index < _SHOWN_VERSIONS]
        console.print(f"\n[bold]{each}[/]")
        console.print(_versions_table(shown))
        for one in shown:
            console.print(f"  version {one.version}: {escape(_decision_on(one))}", highlight=False)
            trouble = _trouble_with(registry, one)
            if trouble:
                console.print(f"  [red]✗[/] {escape(trouble)}", highlight=False, soft_wrap=True)
        if len(shown) < len(versions):
            console.print(f"  {len(versions) - len(shown)} older versions: --all")
    if not names:
        console.print("No model is registered yet: `energy run`, or the job `training` in the Dagster UI, makes them.")


@models.command("history")
def history(name: Annotated[str | None, typer.Argument(help="One registered model. Default: all.")] = None) -> None:
    """Show every change of champion, oldest first: when, from which version to which, how and why."""
    registry = _registry()
    table = Table("when (UTC)", "model", "version", "how", "why")
    for each in registry.promotions(_known(registry, name) if name else None):
        change = f"{each.version}" if each.previous is None else f"{each.previous} → {each.version}"
        table.add_row(f"{each.at_utc:%Y-%m-%d %H:%M}", each.name, change, each.how, escape(each.reason))
    console.print(table if table.rows else "No version has become champion yet.")


@models.command("train")
def train(
    names: Annotated[
        list[str] | None, typer.Argument(help="Registered models. Default: all that the meters need.")
    ] = None,
) -> None:
    """Train challengers now, as every week; what is better on days that neither has seen becomes champion.

    Also what to do when a champion does not load after an upgrade: a version that beats plain baselines takes over.
    """
    from energy_assets.contracts import METERS
    from energy_assets.errors import ModelError
    from energy_assets.forecasts.champions import model_names
    from energy_assets.lake import Lake
    from energy_assets.main_job import carry_out, training_steps

    settings = load_settings()
    lake = Lake.from_settings(settings)
    needed = model_names(lake.read(METERS))
    lake.close()
    unknown = sorted(set(names or ()) - set(needed))
    if unknown:
        raise ModelError(
            f"No meter needs {', '.join(unknown)}; they need {', '.join(needed) or 'none, there is none'}."
        )
    carry_out(training_steps(names or ()), settings=settings, console=console)
    registry = _registry()
    for name in names or needed:
        newest = registry.described(name, alias="challenger")
        said = "not trained: too little to learn from" if newest is None else _decision_on(newest)
        console.print(f"{name}{'' if newest is None else f' version {newest.version}'}: {escape(said)}", soft_wrap=True)


@models.command("compare")
def compare(
    name: Name,
    version: Annotated[int | None, typer.Option(help="The version that is judged. Default: the challenger.")] = None,
    against: Annotated[int | None, typer.Option(help="The version it is compared with. Default: the champion.")] = None,
) -> None:
    """Compare two versions on days that neither has seen, by a paired block bootstrap, and print the verdict."""
    registry = _registry()
    _known(registry, name)
    judged = version if version is not None else _behind(registry, name, alias="challenger")
    rival = against if against is not None else registry.version(name)
    if rival == judged:
        console.print(f"Version {judged} is the champion; it is compared with the plain baselines.")
        rival = None
    decision = _decision(registry, name, judged, rival=rival)
    _show(decision, version=judged)
    if decision.is_promoted and rival is not None:
        console.print(f"It may take over: energy models promote {name} {judged} --reason …", soft_wrap=True)


@models.command("promote")
def promote(
    name: Name,
    version: Annotated[int, typer.Argument(help="The version that becomes champion.")],
    reason: Why,
    force: Annotated[bool, typer.Option("--force", help="Also without evidence; that is recorded, too.")] = False,
) -> None:
    """Make a version champion, if it is better than the champion on days that neither has seen.

    The champion before it is kept: `energy models rollback` brings it back.
    """
    from energy_assets.errors import ModelError

    registry = _registry()
    champion = registry.version(_known(registry, name))
    if champion == version:
        console.print(f"Version {version} is champion already.")
        return
    decision = None
    try:
        decision = _decision(registry, name, version, rival=champion)
        _show(decision, version=version)
        obstacle = None if decision.is_promoted else decision.verdict
    except ModelError as error:
        obstacle = str(error)
        console.print(f"[yellow]No evidence:[/] {escape(obstacle)}", soft_wrap=True)
    if obstacle is not None and not force:
        console.print("[red]✗[/] Not promoted. --force promotes without evidence and records that it was so.")
        raise typer.Exit(1)
    how = "by hand" if obstacle is None else "forced"
    registry.promote(
        name,
        version,
        now=datetime.now(UTC),
        reason=reason,
        how=how,  # type: ignore[arg-type]
        decision=decision,
        instead_of=None if force else champion or 0,
    )
    before = "no champion" if champion is None else f"version {champion}, kept as previous_champion"
    console.print(f"[green]✓[/] {name}: version {version} is champion ({how}), after {before}.", soft_wrap=True)


@models.command("rollback")
def rollback(name: Name, reason: Why) -> None:
    """Bring the previous champion back; it forecasts bit for bit as before."""
    registry = _registry()
    done = registry.rollback(_known(registry, name), now=datetime.now(UTC), reason=reason)
    console.print(
        f"[green]✓[/] {name}: version {done.version} is champion again, after version {done.previous}.", soft_wrap=True
    )


@models.command("prune")
def prune_versions(
    keep: Annotated[int | None, typer.Option(help="Newest versions of each model that stay.", min=1)] = None,
    days: Annotated[int | None, typer.Option(help="Forecasts of so many days can still be made again.", min=1)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Delete old versions: not the newest, no champion or its predecessor, behind no forecast of recent days.

    Their lake snapshots expire with the next upkeep, which also does this every week.
    """
    from energy_assets.defs.maintenance import prunable, prune
    from energy_assets.lake import Lake

    settings = load_settings()
    lake = Lake.from_settings(settings)
    act = prunable if dry_run else prune
    gone = act(
        lake,
        _registry(),
        now=datetime.now(UTC),
        versions_kept=keep or settings.model_versions_kept,
        rebuildable_days=days or settings.rebuildable_days,
    )
    lake.close()
    for each in gone:
        snapshot = each.tags.get("lake_snapshot_id", "?")
        console.print(f"{each.name} version {each.version} of {each.registered_at_utc:%Y-%m-%d}, snapshot {snapshot}")
    console.print(f"{len(gone)} versions {'would be' if dry_run else 'are'} deleted", highlight=False)


def _registry() -> Registry:
    from energy_assets.defs.resources import registry_from

    return registry_from(load_settings())


def _known(registry: Registry, name: str) -> str:
    """Return the name of a registered model.

    Raises:
        ModelError: there is none of that name.
    """
    from energy_assets.errors import ModelError

    names = registry.names()
    if name not in names:
        there = f"the models are {', '.join(names)}" if names else "none is registered yet: `energy models train`"
        raise ModelError(f"No model {name!r}; {there}.")
    return name


def _trouble_with(registry: Registry, version: Listed) -> str | None:
    """Return why a version that has an alias cannot be loaded; None for others, and where it can."""
    from energy_assets.models.versions import UnresolvedModelError

    if not set(version.aliases) & {"champion", "previous_champion"}:
        return None
    try:
        registry.load(version.name, version=version.version)
    except UnresolvedModelError as error:
        return f"{error.reason}: {error}"
    return None


def _behind(registry: Registry, name: str, *, alias: str) -> int:
    from energy_assets.errors import ModelError

    found = registry.version(name, alias=alias)  # type: ignore[arg-type]
    if found is None:
        raise ModelError(f"{name} has no {alias}; `energy models list {name}` shows what it has.")
    return found


def _decision(registry: Registry, name: str, version: int, *, rival: int | None) -> Decision:
    with warnings.catch_warnings():
        # Dagster says so of backfills of a range, which the platform stands on knowingly.
        warnings.filterwarnings("ignore", message=".*is currently in beta")
        from energy_assets.defs.judging import compare_versions
    from energy_assets.lake import Lake

    settings = load_settings()
    lake = Lake.from_settings(settings)
    try:
        return compare_versions(lake, registry, name=name, version=version, champion=rival, settings=settings)
    finally:
        lake.close()


def _show(decision: Decision, *, version: int) -> None:
    from energy_assets.models.promotion import CONFIDENCE

    evidence = {each.rival: each for each in (decision.evidence, *decision.all_evidence.values()) if each is not None}
    if evidence:
        table = Table(f"version {version} against", "in", "skill", f"{CONFIDENCE:.0%} interval", "days", "meters")
        for rival, each in evidence.items():
            skill = each.skill
            interval = f"{skill.low:+.1%} to {skill.high:+.1%}"
            table.add_row(rival, each.metric, f"{skill.value:+.1%}", interval, f"{each.days}", f"{each.meters:,}")
        console.print(table)
    mark = "[green]✓[/]" if decision.is_promoted else "[yellow]–[/]"
    said = decision.evidence.sentence() if decision.is_first and decision.evidence else decision.verdict
    console.print(f"{mark} {escape(said)}.", soft_wrap=True)


def _versions_table(versions: list[Listed]) -> Table:
    table = Table("version", "is", "learned from", "NMAE", "vs last week", "in 80 % band")
    for each in versions:
        tags, metrics = each.tags, each.metrics
        learned = f"{int(tags.get('training_rows', 0)):,} rows of {tags.get('meters', '?')} meters"
        window = tags.get("training_window", "").replace(" 00:00", "").replace("..", " to ")
        table.add_row(
            f"{each.version}",
            "\n".join(alias.replace("_", " ") for alias in each.aliases) or "–",
            f"{learned}, {window}, snapshot {tags.get('lake_snapshot_id', '?')}",
            _percent(metrics.get("nmae")),
            _percent(metrics.get("skill/last_week"), sign="+"),
            _percent(metrics.get("coverage_80")),
        )
    return table


def _decision_on(version: Listed) -> str:
    why = version.tags.get("champion_because") if "champion" in version.aliases else None
    return why or version.tags.get("verdict", "nobody has judged it")


def _percent(share: float | None, *, sign: str = "") -> str:
    return "–" if share is None else f"{share:{sign}.1%}"

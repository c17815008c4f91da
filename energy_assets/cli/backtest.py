"""Back-test on anybody's readings, without an instance: backtest. It keeps the time and prints what was found."""

from __future__ import annotations

import json
import re
import resource
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer
from rich.box import SIMPLE_HEAD
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from energy_assets.cli.root import app, console
from energy_assets.errors import ConfigError
from energy_assets.forecasts.backtest_inputs import read_inputs

_LAST = re.compile(r"^\s*(?P<number>\d+(\.\d+)?)\s*(?P<unit>%|d|days?)?\s*$")
_WORST_METERS = 5
_ALSO_CALLED = {"hybrid": "trees", "boosting": "trees_only"}
"""What people call the linear model with trees on its residual, and trees alone."""


@app.command()
def backtest(
    readings: Annotated[
        Path, typer.Option(help="CSV or Parquet: meter_id, starts_at_utc, energy_kwh (empty = missing).")
    ],
    out: Annotated[Path, typer.Option(help="Where the forecasts go: .csv or .parquet.")],
    report: Annotated[Path | None, typer.Option(help="Where a JSON report goes.")] = None,
    weather: Annotated[
        Path | None,
        typer.Option(help="starts_at_utc, columns of the contract, site_id or none; issued_at_utc for forecasts."),
    ] = None,
    meters: Annotated[
        Path | None, typer.Option(help="meter_id and what is known: site_id, timezone, country_code, latitude, …")
    ] = None,
    calendar: Annotated[
        Path | None, typer.Option(help="Folder of .csv files of school holidays and closures: kind, place, days.")
    ] = None,
    horizon_hours: Annotated[int, typer.Option(help="Hours from the issue to the last slot, 1 to 96.")] = 24,
    issue_hour: Annotated[int, typer.Option(help="Hour of the day at which forecasts are issued.")] = 0,
    clock: Annotated[str, typer.Option(help="Whose hour that is: local (of each meter's site) or utc.")] = "local",
    last: Annotated[str, typer.Option(help="What is tested: the last 20% of the days, or 60 or 60d of them.")] = "20%",
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First day that is tested, instead of --last."),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(help="Comma-separated: the first is the ladder's champion, the others are measured beside it."),
    ] = None,
    refit_days: Annotated[
        int | None, typer.Option(help="Days between trainings. Default: 28, more where training is costly.")
    ] = None,
    effort: Annotated[str, typer.Option(help="full, or quick: a third of the training, a few percent worse.")] = "full",
    timezone: Annotated[str, typer.Option(help="IANA zone of meters that do not say theirs.")] = "UTC",
    country: Annotated[str | None, typer.Option(help="ISO 3166-1 country, for holidays, likewise.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of training.", min=1)] = 2,
) -> None:
    """Forecast your own past as it would have been forecast, and say how good that would have been."""
    from energy_assets.forecasts.backtest import backtest as run
    from energy_assets.forecasts.backtest_plan import Plan
    from energy_assets.forecasts.backtest_report import report_of
    from energy_assets.readings.own_files import check_writable, write_table

    started = time.perf_counter()
    check_writable(out)
    if report is not None and not report.parent.is_dir():
        raise ConfigError(f"Cannot write {report}: the folder {report.parent} does not exist; create it first.")
    champion, rivals = _families(models)
    plan = Plan(
        horizon_hours=horizon_hours,
        issue_hour=issue_hour,
        clock=_clock(clock),
        first_day=None if first is None else first.date(),
        **_last(last),
        refit_days=refit_days,
        spec=_spec(effort).model_copy(update={"family": champion}),
        rivals=rivals,
        threads=threads,
    )
    inputs = read_inputs(
        readings,
        weather_path=weather,
        meters_path=meters,
        calendar_folder=calendar,
        timezone=timezone,
        country_code=country,
    )
    with _progress() as bar:
        result = run(inputs, plan=plan, progress=_Stages(bar))
    write_table(result.forecasts, out)
    account = report_of(result, inputs=inputs, plan=plan)
    account["seconds"] = round(time.perf_counter() - started, 1)
    account["peak_memory_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, 2)
    if report is not None:
        report.write_text(json.dumps(account, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    _show(account)
    console.print(f"Forecasts in {out}" + (f", report in {report}" if report else ""), highlight=False)


def _families(models: str | None) -> tuple[str, tuple[str, ...]]:
    from energy_assets.forecasts.backtest_plan import BASELINES, PREVIOUS_DAY
    from energy_assets.models.spec import Family, ModelSpec

    if models is None:
        return ModelSpec().family, BASELINES
    names = [_ALSO_CALLED.get(name.strip(), name.strip()) for name in models.split(",") if name.strip()]
    known = (*get_args(Family), PREVIOUS_DAY)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ConfigError(f"--models knows no {', '.join(unknown) or 'empty list'}; choose from {', '.join(known)}.")
    if names[0] == PREVIOUS_DAY:
        raise ConfigError(f"--models must begin with a family that can be trained, not with {PREVIOUS_DAY}.")
    return names[0], tuple(dict.fromkeys(names[1:]))


def _spec(effort: str) -> Any:
    from energy_assets.models.spec import SPECS

    if effort not in SPECS:
        raise ConfigError(f"--effort is {effort!r}; choose from {', '.join(SPECS)}.")
    return SPECS[effort]


def _clock(clock: str) -> Literal["local", "utc"]:
    if clock == "local":
        return "local"
    if clock == "utc":
        return "utc"
    raise ConfigError(f"--clock is {clock!r}; choose local or utc.")


def _last(last: str) -> dict[str, Any]:
    """Return the plan's share or days from `20%`, `60` or `60d`."""
    found = _LAST.match(last)
    number = float(found["number"]) if found else 0.0
    if found is None or number <= 0 or (found["unit"] == "%" and number >= 100):
        raise ConfigError(f"--last is {last!r}; give a share such as 20% or a number of days such as 60d.")
    if found["unit"] == "%":
        return {"last_share": number / 100}
    if number != int(number):
        raise ConfigError(f"--last is {last!r}; give whole days, or a share such as 20%.")
    return {"last_days": int(number)}


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description:18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )


class _Stages:
    """A bar for every stage that the back-test tells of."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, Any] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._tasks[stage], completed=done, total=total)


def _show(account: Mapping[str, Any]) -> None:
    about = account["set"]
    trainings = len({each["trained_at_utc"] for each in account["trainings"]})
    console.print(
        f"{about['meters']:,} {'meter' if about['meters'] == 1 else 'meters'}, {about['tested_days']:,} days from "
        f"{about['first_tested_day']} to {about['last_tested_day']}, trained {trainings} {_times(trainings)}",
        f"{about['slots_filled']:,} of {about['slots']:,} slots filled, {about['slots_scored']:,} with readings",
        sep="\n",
        highlight=False,
    )
    for note in account["notes"]:
        console.print(f"[yellow]note[/] {note}", highlight=False)
    for each in account["trainings"]:
        if each["trouble"]:
            day = each["trained_at_utc"][:10]
            console.print(
                f"[yellow]note[/] {each['model']} of {day} was not trained: {each['trouble']}", highlight=False
            )
    _show_methods(account)
    _show_rungs(account)
    _show_meters(account)
    console.print(f"{account['seconds']:.0f} s, {account['peak_memory_gb']:.1f} GB at the peak", highlight=False)


def _show_methods(account: Mapping[str, Any]) -> None:
    console.print(
        "\nErrors in % of mean energy, median over meters; in band: readings within q10-q90, of all meters in %"
    )
    table = _table("method", "NRMSE", "NMAE", "pinball", "CRPS", "in band", "NMAE saved by ladder")
    for method, metrics in account["median"].items():
        cells = [_percent(metrics.get(name)) for name in ("nrmse", "nmae", "pinball", "crps")]
        # A point has no band, so its share within would be nonsense.
        cover = "" if method == "previous_day" else _percent(account["pooled"].get(method, {}).get("coverage_80"))
        table.add_row(method, *cells, cover, _saved(account["skill"].get(method)))
    console.print(table, "")
    # Methods that leave out the hard slots look better than they are.
    partly = [f"{method} {_percent(share)} %" for method, share in account["predicted"].items() if (share or 0) < 1]
    if partly:
        console.print(
            f"Not every slot could be predicted by {', '.join(partly)}; what is saved compares the same slots\n"
        )


def _saved(skill: Mapping[str, Any] | None) -> str:
    of_nmae = (skill or {}).get("nmae")
    if not of_nmae or of_nmae["value"] is None:
        return ""
    saved = f"{100 * of_nmae['value']:+.0f} %"
    if of_nmae["low"] is None or of_nmae["high"] is None:
        return saved
    return f"{saved} ({100 * of_nmae['low']:+.0f} .. {100 * of_nmae['high']:+.0f})"


def _show_rungs(account: Mapping[str, Any]) -> None:
    rungs = account["rungs"]
    if len(rungs) == 1 and rungs[0]["method"] == "champion":
        return
    console.print("Which rung of the ladder served, over all meters together")
    table = _table("rung", "why no better one", "slots", "NMAE", "in band")
    for each in rungs:
        cells = _percent(each["nmae"]), _percent(each["coverage_80"])
        table.add_row(each["method"], (each["reason"] or "").replace("+", ", "), f"{each['slots']:,}", *cells)
    console.print(table, "")


def _show_meters(account: Mapping[str, Any]) -> None:
    errors = {
        meter: metrics["ladder"]["nmae"]
        for meter, metrics in account["meters"].items()
        if "nmae" in metrics.get("ladder", {})
    }
    if len(errors) <= 1:
        return
    worst = sorted(errors.items(), key=lambda item: item[1], reverse=True)[:_WORST_METERS]
    shown = ", ".join(f"{meter} {100 * error:.0f} %" for meter, error in worst)
    console.print(f"largest NMAE: {shown}", highlight=False)


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        is_text = name in ("method", "rung", "why no better one")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=name != "why no better one")
    return table


def _times(count: int) -> str:
    return "time" if count == 1 else "times"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"

"""Accuracy and coverage where nobody tuned: other windows, histories, cadences, sums and gaps of the real sets.

Each variant is made of a real set by fixed steps and judged by the means of `accuracy.py`: earlier windows of a year,
30, 60 or 90 days of history, no weather, one meter alone, 15 and 30 minutes, sums of meters, missing readings; and of
files that no set uses: Nord Pool's load forecast as a load, real roofs, two more buildings. Few meters, 14 months and
60 tested days at most, so that a variant takes well under a minute of CPU. `cover` is in percent, `error` its standard
error from day to day: a band that is right leaves 76 .. 84 by chance where the error is above two. Exit code 1 where a
variant is outside of 76 .. 84, or worse than the best seasonal baseline or 1.03 x LightGBM, the limits of the sets.

    ENERGY_ASSETS_REAL_DATA=… python bench/unknown.py [--variants homes openstef_307.earlier_20] [--keep FOLDER]
        [--list]   `--variants` takes names or their beginnings; variants kept in the folder are not run again
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from accuracy import judge_real, ratios_of
from accuracy_sets import SETS, RealSet, nord_pool, openstef, sacramento, two_buildings, vic
from features import california_roofs

LEAST_COVER, MOST_COVER = 76.0, 84.0
LIMIT_LIGHTGBM, LIMIT_NAIVE = 1.03, 1.0
HISTORY_DAYS, TESTED_DAYS = 425, 60
SHORT_TEST_DAYS = 28
REFIT_DAYS = 73

Source = Callable[[Path], RealSet]
Step = Callable[[RealSet], RealSet]


def span(real: RealSet) -> tuple[Any, int]:
    """The end of the readings and the days that they span."""
    first, last = real.readings["starts_at_utc"].min(), real.readings["starts_at_utc"].max()
    return last + timedelta(minutes=real.readings["interval_minutes"][0]), (last - first).days + 1


def between(real: RealSet, *, days: int, before: Any) -> RealSet:
    """The set's readings in the days before an instant."""
    inside = pl.col("starts_at_utc").is_between(before - timedelta(days=days), before, closed="left")
    return replace(real, readings=real.readings.filter(inside))


def of_last_fifth(real: RealSet) -> RealSet:
    """Test the last fifth, at most 60 days of it, on at most 14 months."""
    end, days = span(real)
    tested, kept = min(round(days * real.test_share), TESTED_DAYS), min(days, HISTORY_DAYS)
    return replace(between(real, days=kept, before=end), test_share=tested / kept)


def earlier(real: RealSet, *, percent: int) -> RealSet:
    """Cut the last days off; what is tested is a fifth of all days as before."""
    end, days = span(real)
    kept = days - round(days * percent / 100)
    cut = between(real, days=kept, before=end - timedelta(days=days - kept))
    return of_last_fifth(replace(cut, test_share=real.test_share * days / kept))


def history(real: RealSet, *, days: int) -> RealSet:
    """That many days before the last four weeks, which are tested."""
    end, _ = span(real)
    kept = days + SHORT_TEST_DAYS
    return replace(between(real, days=kept, before=end), test_share=SHORT_TEST_DAYS / kept)


def without_weather(real: RealSet) -> RealSet:
    return replace(real, observed=None)


def few(real: RealSet, *, meters: int) -> RealSet:
    """Meters evenly spaced in the order of their names."""
    names = real.meters["meter_id"].sort()
    chosen = [names[round(place)] for place in np.linspace(0, len(names) - 1, meters + 2)[1:-1]]
    return replace(
        real,
        readings=real.readings.filter(pl.col("meter_id").is_in(chosen)),
        meters=real.meters.filter(pl.col("meter_id").is_in(chosen)),
    )


def summed(real: RealSet) -> RealSet:
    """One meter that reads what the whole ones read together, those with 99 % of the readings; unknown where one is."""
    known = pl.col("energy_kwh").count()
    slots = real.readings["starts_at_utc"].n_unique()
    whole = real.readings.filter(known.over("meter_id") >= 0.99 * slots)
    meters, one = whole["meter_id"].n_unique(), real.meters.head(1)
    sums = whole.group_by("starts_at_utc").agg(
        pl.exclude("meter_id", "energy_kwh", "reported_kwh", "quality").first(),
        energy_kwh=pl.when(known == meters).then(pl.col("energy_kwh").sum()),
    )
    readings = sums.with_columns(
        meter_id=pl.lit(one["meter_id"][0]),
        reported_kwh="energy_kwh",
        quality=pl.when(pl.col("energy_kwh").is_null()).then(pl.lit("missing")).otherwise(pl.lit("measured")),
    )
    return replace(real, readings=readings.sort("starts_at_utc").select(real.readings.columns), meters=one)


def with_gaps(real: RealSet) -> RealSet:
    """Every twentieth reading missing by chance, and a week of each meter that ends ten days before what is tested."""
    end, days = span(real)
    gap_ends = end - timedelta(days=round(days * real.test_share) + 10)
    chance = pl.struct("meter_id", "starts_at_utc").hash(seed=5) % 20 == 0
    week = pl.col("starts_at_utc").is_between(gap_ends - timedelta(days=7), gap_ends, closed="left")
    known = pl.when(~(chance | week))
    return replace(
        real,
        readings=real.readings.with_columns(
            energy_kwh=known.then("energy_kwh"),
            reported_kwh=known.then("reported_kwh"),
            quality=known.then("quality").otherwise(pl.lit("missing")),
        ),
    )


CHANGES: dict[str, Step] = {
    "last": lambda real: real,
    **{f"earlier_{percent}": partial(earlier, percent=percent) for percent in (20, 40)},
    **{f"history_{days}": partial(history, days=days) for days in (30, 60, 90)},
    "no_weather": without_weather,
    "single": partial(few, meters=1),
    "sum": summed,
    "gaps": with_gaps,
}
SOURCES: dict[str, tuple[Source, int | None]] = {
    "cambridge": (SETS["cambridge_electricity"], 4),
    "gas": (SETS["cambridge_gas"], 3),
    "ashrae": (SETS["ashrae"], 6),
    "school": (SETS["sacramento_school"], None),
    "school_30min": (partial(sacramento, is_school=True, minutes=30), 2),
    "school_15min": (partial(sacramento, is_school=True, minutes=15), 1),
    "office": (SETS["sacramento_office"], None),
    "office_30min": (partial(sacramento, is_school=False, minutes=30), 1),
    "victoria": (SETS["vic_elec"], None),
    "victoria_30min": (partial(vic, minutes=30), None),
    "openstef": (SETS["openstef_307"], None),
    "openstef_30min": (partial(openstef, minutes=30), None),
    "openstef_15min": (partial(openstef, minutes=15), None),
    "homes": (SETS["citylearn22_homes"], None),
    "simulated": (SETS["citylearn_tx_sim"], 5),
    "nord_pool": (nord_pool, None),
    "roofs": (california_roofs, 3),
    "two_buildings": (two_buildings, None),
}
PLAN = {
    "cambridge": "earlier_20 earlier_40 history_30 history_60 history_90 no_weather single gaps",
    "gas": "earlier_20 history_60 no_weather sum",
    "ashrae": "earlier_20 earlier_40 history_30 single sum",
    "school": "earlier_20 earlier_40 history_30 history_90 no_weather single sum gaps",
    "school_30min": "last",
    "school_15min": "history_60",
    "office": "earlier_20 history_60 no_weather sum gaps",
    "office_30min": "last",
    "victoria": "earlier_20 history_30 history_60 history_90 no_weather gaps",
    "victoria_30min": "history_90",
    "openstef": "last earlier_20 earlier_40 no_weather gaps",
    "openstef_30min": "last",
    "openstef_15min": "last",
    "homes": "earlier_20 earlier_40 history_30 history_60 history_90 single sum gaps",
    "simulated": "earlier_20 history_60 no_weather sum",
    "nord_pool": "last earlier_40 history_60",
    "roofs": "last history_60",
    "two_buildings": "last earlier_20 history_60",
}
VARIANTS = tuple(f"{source}.{change}" for source, changes in PLAN.items() for change in changes.split())


def variant(name: str, *, folder: Path) -> RealSet:
    """The set that a name of VARIANTS stands for."""
    source, change = name.split(".")
    make, meters = SOURCES[source]
    chosen = [partial(few, meters=meters)] if meters is not None and change not in ("single", "sum") else []
    window = [of_last_fifth] if not change.startswith(("earlier", "history")) else []
    return reduce(lambda real, step: step(real), [*chosen, *window, CHANGES[change]], make(folder))


def short_of(result: dict[str, Any]) -> list[str]:
    """What a variant misses, in words."""
    of, (square, absolute, _, _, naive, naive_absolute) = result["of"]["ours"], ratios_of(result["of"])
    missed = []
    if not LEAST_COVER <= of["cover"] <= MOST_COVER:
        apart = abs(of["cover"] - 80) / max(of["cover_error"], 1e-9)
        missed.append(f"{of['cover']:.1f} % in band, {apart:.1f} standard errors from 80")
    for figure, value, limit in (
        ("NRMSE {:.3f} x LightGBM", square, LIMIT_LIGHTGBM),
        ("NMAE {:.3f} x LightGBM", absolute, LIMIT_LIGHTGBM),
        ("NRMSE {:.3f} x seasonal", naive, LIMIT_NAIVE),
        ("NMAE {:.3f} x seasonal", naive_absolute, LIMIT_NAIVE),
    ):
        missed += [figure.format(value)] if value > limit else []
    return missed


HEAD = ("cover", "error", "NRMSE/LGBM", "NMAE/LGBM", "pin/LGBM", "NRMSE/mlf", "NRMSE/naive", "NMAE/naive", "NRMSE")


def row_of(name: str, result: dict[str, Any]) -> str:
    of, ratios = result["of"]["ours"], ratios_of(result["of"])
    figures = f"{of['cover']:12.1f}{of['cover_error']:12.1f}" + "".join(f"{ratio:12.3f}" for ratio in ratios)
    return f"{name:26}{figures}{of['nrmse']:12.2f}"


def summarise(results: dict[str, dict[str, Any]]) -> int:
    """Print means, the worst and what each misses; return how many miss something."""
    table = np.array([ratios_of(result["of"]) for result in results.values()])
    cover = np.array([result["of"]["ours"]["cover"] for result in results.values()])
    means = np.exp(np.log(table).mean(axis=0))
    print(f"{'geometric mean':50}" + "".join(f"{mean:12.3f}" for mean in means))
    print(f"{'worst':50}" + "".join(f"{worst:12.3f}" for worst in table.max(axis=0)))
    inside = int(((cover >= LEAST_COVER) & (cover <= MOST_COVER)).sum())
    print(
        f"coverage: mean {cover.mean():.1f} %, {cover.min():.1f} .. {cover.max():.1f}; {inside} of {len(cover)} within"
    )
    missed = {name: short for name, result in results.items() if (short := short_of(result))}
    for name, short in missed.items():
        print(f"  {name}: {'; '.join(short)}")
    seconds = sum(result["seconds"]["cpu of all"] for result in results.values())
    print(f"{len(results) - len(missed)} of {len(results)} variants hold every limit; {seconds:.0f} s of CPU")
    return len(missed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=[""], metavar="NAME", help="names or their beginnings")
    parser.add_argument("--folder", type=Path, default=os.environ.get("ENERGY_ASSETS_REAL_DATA"))
    parser.add_argument("--keep", type=Path, help="folder of results, one JSON file a variant")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    chosen = parser.parse_args()
    names = [name for name in VARIANTS if name.startswith(tuple(chosen.variants))]
    if chosen.list:
        print("\n".join(names))
        return 0
    if not names:
        raise SystemExit(f"bench/unknown has no variant that begins with {chosen.variants}; see --list.")
    if chosen.folder is None or not Path(chosen.folder).is_dir():
        raise SystemExit("bench/unknown needs real data: set ENERGY_ASSETS_REAL_DATA to the folder of the sets.")
    print(f"{'ratios of ours':26}" + "".join(f"{title:>12}" for title in HEAD), flush=True)
    results = {}
    for name in names:
        kept = None if chosen.keep is None else chosen.keep / f"{name}.json"
        if kept is not None and kept.is_file():
            results[name] = json.loads(kept.read_text())
        else:
            results[name] = judge_real(variant(name, folder=Path(chosen.folder)), refit_days=REFIT_DAYS)
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps(results[name]))
        print(row_of(name, results[name]), flush=True)
    return 1 if summarise(results) else 0


if __name__ == "__main__":
    sys.exit(main())

"""What a shape looks like: in a few words, and as a picture of its mean days."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from energy_assets.contracts.profiles import DAY_KINDS, SEASONS
from energy_assets.profiles.vectors import HOURS, Floats, shape_of

_COLOURS = {"winter": "#1f77b4", "spring": "#2ca02c", "summer": "#d62728", "autumn": "#ff7f0e"}
_PARTS_OF_DAY = (("at night", 0, 6), ("in the morning", 6, 10), ("by day", 10, 17), ("in the evening", 17, 24))


def words_of(vector: Floats) -> str:
    """Return the shape of a vector in words: when it peaks, what the weekend is like, which season is heavy."""
    shape = shape_of(vector)
    working, rest = shape[:, 0].mean(axis=0), shape[:, 1].mean(axis=0)
    mean_day = (5 * working + 2 * rest) / 7
    level = mean_day.mean()
    said = [f"{_when(mean_day, level=level)}, peak at {int(mean_day.argmax())} h"]
    ratio = rest.mean() / working.mean() if working.mean() > 0 else 1.0
    if ratio < 0.8:
        said.append("quiet weekends")
    elif ratio > 1.1:
        said.append("busy weekends")
    seasons = (5 * shape[:, 0].mean(axis=1) + 2 * shape[:, 1].mean(axis=1)) / 7
    heavy = int(seasons.argmax())
    if seasons[heavy] > 1.25 * seasons.mean():
        said.append(f"{SEASONS[heavy]} heavy")
    return ", ".join(said)


def _when(mean_day: Floats, *, level: float) -> str:
    if level <= 0 or mean_day.max() - mean_day.min() < 0.3 * level:
        return "even all day"
    tops = [(name, mean_day[first:last].mean() / level) for name, first, last in _PARTS_OF_DAY]
    name, height = max(tops, key=lambda top: top[1])
    shoulder = next((other for other, value in tops if other != name and value > 0.93 * height), None)
    return f"high {name}" if shoulder is None else f"high {shoulder} and {name}"


def picture_of(vectors: Sequence[Floats], *, titles: Sequence[str], dots_per_inch: int = 100) -> bytes:
    """Return a PNG of the mean days of vectors, one below the other, each relative to its mean hour."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.4 + 2.5 * len(vectors)), layout="constrained")
    grid = figure.subplots(len(vectors), len(DAY_KINDS), sharey="row", squeeze=False)
    for row, vector in enumerate(vectors):
        shape = shape_of(vector)
        relative = shape / max(float(np.abs(shape).mean()), 1e-12)
        for kind, days in enumerate(DAY_KINDS):
            axes = grid[row][kind]
            for number, season in enumerate(SEASONS):
                axes.step(np.arange(HOURS), relative[number, kind], where="mid", label=season, color=_COLOURS[season])
            axes.axhline(1, color="0.8", linewidth=0.8, zorder=0)
            low, high = min(0.0, float(relative.min())), max(1.0, float(relative.max()))
            axes.set(xticks=range(0, HOURS + 1, 6), ylim=(1.05 * low, 1.05 * high))
            # The cluster's title may run on over the right picture, whose first line is empty.
            axes.set_title(f"{titles[row] if kind == 0 else ''}\n{days} days", fontsize=9, loc="left")
        grid[row][0].set_ylabel("mean hour = 1", fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel("local hour")
    grid[0][-1].legend(fontsize=7)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch)
    return buffer.getvalue()


def bars_of(day: Floats, *, top: float | None = None) -> str:
    """Return one bar character an hour, from zero to `top` (default: the highest hour), for a terminal."""
    marks = " ▁▂▃▄▅▆▇█"
    highest = max(float(np.max(day)) if top is None else top, 1e-12)
    heights = [min(max(float(value), 0) / highest, 1) for value in day]
    return "".join(marks[round(height * (len(marks) - 1))] for height in heights)

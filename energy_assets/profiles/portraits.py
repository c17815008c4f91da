"""What a shape looks like: in a few words, and as a picture of its mean days."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from energy_assets.contracts.profiles import DAY_KINDS, SEASONS
from energy_assets.profiles.vectors import HOURS, Floats, shape_of

_COLOURS = {"winter": "#2166ac", "spring": "#4dac26", "summer": "#d6604d", "autumn": "#b8860b"}
_WIDTH_INCHES, _PANEL_INCHES, _HEAD_INCHES, _PANELS_A_ROW = 10.0, 2.1, 0.95, 2
_GAP_HOURS = 2
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


def picture_of(
    vectors: Sequence[Floats], *, titles: Sequence[str], heading: str = "", dots_per_inch: int = 80
) -> bytes:
    """Return a PNG of the mean days of vectors, a panel each: working days on the left, days of rest on the right.

    A title may have a second line. Hours are relative to the mean hour of the panel's days.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    rows = -(-len(vectors) // _PANELS_A_ROW)
    height = _HEAD_INCHES + rows * _PANEL_INCHES
    figure = Figure(figsize=(_WIDTH_INCHES, height))
    # By hand: fitting the layout takes matplotlib longer than drawing.
    figure.subplots_adjust(
        left=0.05, right=0.985, bottom=0.38 / height, top=1 - _HEAD_INCHES / height, wspace=0.1, hspace=0.62
    )
    grid = figure.subplots(rows, _PANELS_A_ROW, squeeze=False)
    for axes, vector, title in zip(grid.flat, vectors, titles, strict=False):
        _panel(axes, vector, title=title)
    for axes in grid.flat[len(vectors) :]:
        axes.set_axis_off()
    figure.text(0.05, 1 - 0.12 / height, heading, fontsize=11, fontweight="bold", va="top")
    figure.legend(
        *grid.flat[0].get_legend_handles_labels(), loc="upper right", bbox_to_anchor=(0.99, 1 - 0.02 / height),
        ncols=len(SEASONS), frameon=False, fontsize=9, handlelength=1.4, columnspacing=1.2,
    )  # fmt: skip
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch)
    return buffer.getvalue()


def _panel(axes: Any, vector: Floats, *, title: str) -> None:
    shape = shape_of(vector)
    relative = shape / max(float(np.abs(shape).mean()), 1e-12)
    edges = np.arange(HOURS + 1)
    axes.axhline(1, color="0.85", linewidth=0.8, zorder=0)
    for kind in range(len(DAY_KINDS)):
        begin = kind * (HOURS + _GAP_HOURS)
        mean = relative[:, kind].mean(axis=0)
        axes.stairs(mean, edges + begin, fill=True, color="0.94", zorder=0)
        for number, season in enumerate(SEASONS):
            label = season if kind == 0 else None
            axes.stairs(
                relative[number, kind], edges + begin, baseline=None, color=_COLOURS[season], linewidth=1.5, label=label
            )  # fmt: skip
        axes.text(
            begin + HOURS / 2, 1.0, f"{DAY_KINDS[kind]} days", ha="center", va="top", fontsize=8, color="0.45",
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip
    ticks = [(begin + hour, hour) for begin in (0, HOURS + _GAP_HOURS) for hour in range(0, HOURS + 1, 6)]
    axes.set_xticks([place for place, _ in ticks], [str(hour) for _, hour in ticks], fontsize=8, color="0.35")
    axes.tick_params(axis="y", labelsize=8, labelcolor="0.35", length=0)
    axes.tick_params(axis="x", length=2, color="0.7")
    low, high = min(0.0, float(relative.min())), max(1.2, float(relative.max()))
    axes.set(xlim=(-0.5, 2 * HOURS + _GAP_HOURS + 0.5), ylim=(1.1 * low, 1.22 * high))
    axes.locator_params(axis="y", nbins=4)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("0.7")
    name, _, about = title.partition("\n")
    axes.text(0, 1.17, name, fontsize=9.5, fontweight="bold", transform=axes.transAxes)
    axes.text(0, 1.05, about, fontsize=8.5, color="0.4", transform=axes.transAxes)


def bars_of(day: Floats, *, top: float | None = None) -> str:
    """Return one bar character an hour, from zero to `top` (default: the highest hour), for a terminal."""
    marks = " ▁▂▃▄▅▆▇█"
    highest = max(float(np.max(day)) if top is None else top, 1e-12)
    heights = [min(max(float(value), 0) / highest, 1) for value in day]
    return "".join(marks[round(height * (len(marks) - 1))] for height in heights)

"""Pictures of a ranker on meters that it has not seen, for its page in MLflow: precision, recall and calibration."""

from __future__ import annotations

import io

import numpy as np
import polars as pl

from energy_assets.anomalies.grid import Bools, Floats
from energy_assets.anomalies.ranker_features import SCORE

_BINS = 15


def ranker_plots(unseen: pl.DataFrame) -> dict[str, bytes]:
    """Return PNG files by name; `unseen` has is_fault, score and detector_score of labelled slots."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    fault = unseen["is_fault"].to_numpy()
    score = unseen["score"].to_numpy()
    detectors = unseen[SCORE].fill_null(0).fill_nan(0).to_numpy()
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, values in (("ranker", score), ("detectors' score", detectors)):
        left.step(*_precision_recall(fault, values), where="post", label=name)
    left.set(title="On meters it has not seen", xlabel="recall of slots", ylabel="precision", xlim=(0, 1), ylim=(0, 1))
    left.legend()
    order = np.argsort(score, kind="stable")[len(score) // 2 :]
    parts = [part for part in np.array_split(order, _BINS) if len(part)]
    right.plot([1e-5, 1], [1e-5, 1], color="0.7", linewidth=1)
    right.plot(
        [max(score[part].mean(), 1e-5) for part in parts], [max(fault[part].mean(), 1e-5) for part in parts], marker="o"
    )
    right.set(title="Calibration", xlabel="probability", ylabel="share of faults", xscale="log", yscale="log")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return {"precision_and_calibration.png": buffer.getvalue()}


def _precision_recall(fault: Bools, score: Floats) -> tuple[Floats, Floats]:
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(fault[order])
    places = np.unique(np.geomspace(1, len(order), 400).astype(np.int64)) - 1
    return hits[places] / max(hits[-1], 1), hits[places] / (places + 1)

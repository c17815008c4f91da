"""The command `energy`: each command a few lines over the library. It reads the clock and prints; nothing else does."""

from __future__ import annotations

import os
import sys

from rich.markup import escape

from energy_assets.cli import (
    ahead,
    anomalies,
    backtest,
    explain,
    forecasts,
    jobs,
    ledger,
    messages,
    models,
    peaks,
    prices,
    profiles,
    publish,
    quarantine,
    record,
    savings,
    settlement,
    simulate,
    sources,
    weather,
)
from energy_assets.cli.root import app, console
from energy_assets.errors import EnergyAssetsError

__all__ = [
    "ahead",
    "anomalies",
    "app",
    "backtest",
    "explain",
    "forecasts",
    "jobs",
    "ledger",
    "main",
    "messages",
    "models",
    "peaks",
    "prices",
    "profiles",
    "publish",
    "quarantine",
    "record",
    "savings",
    "settlement",
    "simulate",
    "sources",
    "weather",
]


def main() -> None:
    """Run the command; an error that the package raises on purpose is a message, not a traceback."""
    # Waiting OpenMP threads that spin starve the other processes of a small machine; XGBoost reads this when loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except EnergyAssetsError as error:
        console.print(f"[bold red]energy:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)

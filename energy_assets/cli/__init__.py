"""The command `energy`: each command a few lines over the library. It reads the clock and prints; nothing else does."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import typer
from rich.markup import escape

from energy_assets.cli import root
from energy_assets.cli.root import console
from energy_assets.errors import EnergyAssetsError

_MODULES = (
    "ahead",
    "anomalies",
    "backtest",
    "explain",
    "forecasts",
    "jobs",
    "ledger",
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
    "today",
    "weather",
)
# Processes that stay: each loads its own module only, which is half of the memory of an idle platform's smaller ones.
_MODULE_OF = {"up": "jobs", "record": "record", "publish": "publish", "check": "publish", "simulate": "simulate"}


def load(*modules: str) -> typer.Typer:
    """Return the root with the commands of these modules, or of all."""
    for name in modules or _MODULES:
        import_module(f"energy_assets.cli.{name}")
    return root.app


def __getattr__(name: str) -> typer.Typer:
    """Return `app`, with every command, where it is asked for."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return load()


def main() -> None:
    """Run the command; an error that the package raises on purpose is a message, not a traceback."""
    # Waiting OpenMP threads that spin starve the other processes of a small machine; XGBoost reads this when loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Our matrix products are small: NumPy's threads spin for longer than they help, and sums round by their number.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    own = _MODULE_OF.get(sys.argv[1]) if len(sys.argv) > 1 else None
    try:
        load(*(() if own is None else (own,)))()
    except EnergyAssetsError as error:
        console.print(f"[bold red]energy:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)

"""The root of the command `energy` and its console; each module beside this one adds its commands to the root."""

from __future__ import annotations

import typer
from rich.console import Console

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

console = Console()


@app.callback()
def energy() -> None:
    """Energy data and forecasting you can trust."""

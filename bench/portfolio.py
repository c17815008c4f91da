"""What the benches of a night share: a declared portfolio of any size, and actions in processes of their own.

Readings are not here: each bench writes those that its subject needs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl


def declared(meters: int, *, sites: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return sites, premises and meters as rows of their contracts, not yet conformed.

    Two hourly meters stand on each premise, every fourth meter is one of steam, and premises are dealt out to `sites`.
    """
    numbers = pl.DataFrame({"number": range(meters)}).with_columns(
        site_id=pl.format("bench.{}", pl.col("number") // 2 % sites),
        premise_id=pl.format("bench.b{}", pl.col("number") // 2),
        commodity=pl.when(pl.col("number") % 4 == 3).then(pl.lit("steam")).otherwise(pl.lit("electricity")),
        source=pl.lit("bench"),
    )
    places = numbers.unique("site_id", maintain_order=True).select(
        "site_id", "source", name="site_id", timezone=pl.lit("Europe/Berlin"), latitude=48.0, longitude=8.0,
        country_code=pl.lit("DE"),
    )  # fmt: skip
    premises = numbers.unique("premise_id", maintain_order=True).select(
        "premise_id", "source", "site_id", primary_use=pl.lit("Office"), floor_area_m2=1000.0
    )
    of_meters = numbers.select(
        "premise_id", "site_id", "commodity", "source", meter_id=pl.format("bench.{}.{}", "number", "commodity"),
        direction=pl.lit("consumption"), measure=pl.lit("interval_energy"), unit=pl.lit("kWh"), interval_minutes=60,
    )  # fmt: skip
    return places, premises, of_meters


def run_apart(file: str, *arguments: str, home: Path, **settings: str) -> dict[str, Any]:
    """Run a bench's own file in a process and a home of its own and return the JSON that it prints last.

    `settings` are those of the platform by their names; what the caller's environment says of others does not count.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ENERGY_ASSETS_")} | {
        "ENERGY_ASSETS_HOME": str(home),
        "OMP_WAIT_POLICY": "PASSIVE",
        **{f"ENERGY_ASSETS_{name.upper()}": value for name, value in settings.items()},
    }
    command = [sys.executable, "-W", "ignore", file, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found

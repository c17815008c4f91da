"""The bill on docs/settlement.md is what the command prints, and the zone file on it is one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from energy_assets.prices.zones import load_zone

PAGE = (Path(__file__).parents[2] / "docs" / "settlement.md").read_text("utf-8")


def printed(home: Path) -> str:
    """Return what the command of the page prints of a settled month."""
    (command,) = re.findall(r"^    energy (settlement show PREMISE --month \S+)", PAGE, flags=re.MULTILINE)
    done = subprocess.run(
        [Path(sys.executable).parent / "energy", *command.replace("PREMISE", "c").split()],
        env=os.environ | {"ENERGY_ASSETS_HOME": str(home), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def test_the_bill_of_the_page_is_what_the_command_prints(settled_home: Path) -> None:
    (shown,) = re.findall(r"^```\n(.*?)\n```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert printed(settled_home) == shown


def test_the_zone_file_of_the_page_is_read(tmp_path: Path) -> None:
    (block,) = re.findall(r"^(    zone_id = .*?)\n\n", PAGE, flags=re.MULTILINE | re.DOTALL)
    path = tmp_path / "north.toml"
    path.write_text(re.sub(r"^    ", "", block, flags=re.MULTILINE))
    zone = load_zone(path)
    assert (zone.community.rule, zone.community.key) == ("mid_market", "dynamic")
    assert zone.community.shares == {"north.hall": 3}
    assert (zone.bill.fixed_charge, zone.bill.peak_cost_per_kw) == (6.0, 0.5)

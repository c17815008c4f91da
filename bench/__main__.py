"""Every benchmark, one after another: `python -m bench`, or `python -m bench ingest anomalies` for some."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent
ARGUMENTS = {
    "ledger": [["speed"], ["tamper"]],
    "mqtt": [
        ["throughput"],
        ["latency"],
        ["faults"],
        ["faults", "--broker", "embedded"],
        ["arrival"],
        ["sending"],
        ["staging"],
    ],
    "prices": [["speed"], ["settlement"], ["homes"], ["ranges"]],
}
PARTS = (
    "spine",
    "nightly",
    "ingest",
    "intervals",
    "community",
    "accuracy",
    "unknown",
    "features",
    "coherence",
    "training",
    "anomalies",
    "anomalies_speed",
    "ranker",
    "mqtt",
    "ledger",
    "prices",
    "wholesale",
)


def main() -> int:
    wanted = sys.argv[1:] or PARTS
    failed = []
    for name in wanted:
        for arguments in ARGUMENTS.get(name, [[]]):
            print(f"\n== {name} {' '.join(arguments)}".rstrip(), flush=True)
            started = time.monotonic()
            done = subprocess.run([sys.executable, str(FOLDER / f"{name}.py"), *arguments], check=False)
            print(f"-- {time.monotonic() - started:.0f} s", flush=True)
            if done.returncode:
                failed.append(name)
    if failed:
        print(f"failed or out of its limits: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

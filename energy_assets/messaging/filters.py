"""The topic filters that a persistent session holds at the broker, remembered so that dropped ones are unsubscribed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from energy_assets.errors import ConfigError

LONGEST_BYTES = 65_535


class FilterMemory:
    """A file beside the segments of a client; a lost one costs only that dropped filters stay subscribed."""

    def __init__(self, folder: Path, *, client_id: str) -> None:
        self._path = folder / f"{client_id}.filters.json"

    def remembered(self) -> tuple[str, ...]:
        """Return the filters of the last session; none where it is not known."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return ()
        return tuple(topic for topic in found if isinstance(topic, str)) if isinstance(found, list) else ()

    def remember(self, filters: Iterable[str]) -> None:
        """Replace the file where it says something else.

        Raises:
            OSError: it cannot be written.
        """
        wanted = tuple(sorted(set(filters)))
        if wanted != self.remembered():
            fresh = self._path.with_suffix(".tmp")
            fresh.write_text(json.dumps(wanted) + "\n", encoding="utf-8")
            fresh.rename(self._path)


def checked_filter(topic: str) -> str:
    """Return a topic filter that the standard allows (4.7).

    Raises:
        ConfigError: `#` is not its last level, a wildcard is part of a level, or it is empty or too long.
    """
    levels = topic.split("/")
    is_well_formed = (
        0 < len(topic.encode()) <= LONGEST_BYTES
        and "\0" not in topic
        and all(level in {"+", "#"} or not {"+", "#"} & set(level) for level in levels)
        and "#" not in levels[:-1]
    )
    if not is_well_formed:
        raise ConfigError(
            f"The topic filter {topic!r} is not one that MQTT allows: `+` stands for a whole level, `#` for the rest, "
            "such as energy/meters/+ or energy/#."
        )
    return topic

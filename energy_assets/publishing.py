"""What the platform tells the world over MQTT: past energy, forecasts and prices, of each only what changed.

Topics and payloads are those that subscribers of the predecessors know (consumption, production and their histories, a
bare present price), and beside them what they lacked: forecasts with a band, and whole curves by zone and day. All but
nothing is sent twice: a message whose payload was acknowledged before stays unsent, over restarts too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from energy_assets.contracts import PRICES_CURVES, Window
from energy_assets.errors import LakeError, SourceError
from energy_assets.lake import Lake
from energy_assets.messaging.sending import Outgoing, Sender
from energy_assets.prices import exchange
from energy_assets.readings.today import heard_query, today_query
from energy_assets.sql import Query

_LOG = logging.getLogger(__name__)
HISTORY_DAYS = 31
_SETTLED_WITHIN_S = 30.0
_LOOKED_EVERY_S = 0.2
_OVERDUE_AFTER = timedelta(minutes=2)


@dataclass(frozen=True, kw_only=True)
class Publication:
    """A message as it shall stand at the broker."""

    topic: str
    payload: str
    is_retained: bool = True


def publications(lake: Lake, *, now: datetime, zone: str | None = None) -> Iterator[Publication]:
    """Yield everything that is to be known at `now`, the slow and large first and the present price last.

    `zone` is that of the bare price on `energy/price`; default: the first by name.
    """
    days = Window(starts_at_utc=now - timedelta(days=HISTORY_DAYS), ends_at_utc=now)
    energy = lake.query(
        Query.from_file("energy_assets.messaging", "daily_energy", starts=days.starts_at_utc, ends=days.ends_at_utc)
    )
    yield from of_energy(energy)
    if heard := lake.query(heard_query(now))["meter_id"].to_list():
        yield from of_today(lake.query(today_query(now, meters=heard)))
    yield from of_forecasts(lake.query(Query.from_file("energy_assets.messaging", "newest_outlook", now=now)))
    around = Window(starts_at_utc=now - timedelta(days=1), ends_at_utc=now + timedelta(days=7))
    yield from of_prices(lake.read(PRICES_CURVES, around), now=now, zone=zone)


def of_energy(energy: pl.DataFrame) -> Iterator[Publication]:
    """Yield daily energy of premises and of them all, in kWh.

    `energy/<premise>/<flow>` and `energy/aggregate/<flow>_history` hold {"timestamps": [...], "<flow>": [...]};
    `energy/aggregate/<flow>` is the bare list of the newest day, one value a premise in the order of their names.

    Args:
        energy: premise_id, flow (consumption or production), day, energy_kwh; sorted or not.
    """
    ordered = energy.sort("flow", "premise_id", "day")
    for (flow,), of_flow in ordered.group_by("flow", maintain_order=True):
        for (premise,), rows in of_flow.group_by("premise_id", maintain_order=True):
            yield Publication(topic=f"energy/{premise}/{flow}", payload=_series(rows, flow=str(flow)))
        sums = of_flow.group_by("day", maintain_order=True).agg(pl.col("energy_kwh").sum()).sort("day")
        yield Publication(topic=f"energy/aggregate/{flow}_history", payload=_series(sums, flow=str(flow)))
        newest = of_flow.filter(pl.col("day") == pl.col("day").max())
        values = [_rounded(value) for value in newest["energy_kwh"]]
        yield Publication(topic=f"energy/aggregate/{flow}", payload=_compact(values))


def of_today(energy: pl.DataFrame) -> Iterator[Publication]:
    """Yield `energy/<premise>/<flow>/today`: kWh of the day that has not ended, until when, and how whole.

    It has a topic of its own, for subscribers of `energy/<premise>/<flow>` take each of its values for a whole day.

    Args:
        energy: rows of `readings.today.today_query`.
    """
    for row in energy.iter_rows(named=True):
        content = {
            "day": exchange.utc_text(row["day_starts_at_utc"]),
            "until": exchange.utc_text(row["until_utc"]),
            "unit": "kWh",
            row["flow"]: _rounded(row["energy_kwh"]),
            "coverage": _rounded(row["coverage_fraction"]),
        }
        yield Publication(topic=f"energy/{row['premise_id']}/{row['flow']}/today", payload=_compact(content))


def of_forecasts(outlook: pl.DataFrame) -> Iterator[Publication]:
    """Yield `energy/<premise>/<flow>/forecast` (kWh a slot), of the newest issue of each premise.

    Args:
        outlook: premise_id, flow, issued_at_utc, starts_at_utc, q10_kwh, q50_kwh, q90_kwh, method.
    """
    ordered = outlook.sort("premise_id", "flow", "starts_at_utc")
    for (premise, flow), rows in ordered.group_by("premise_id", "flow", maintain_order=True):
        content = {
            "issued_at": exchange.utc_text(rows["issued_at_utc"][0]),
            "unit": "kWh",
            "timestamps": _stamps(rows["starts_at_utc"]),
            **{name: [_rounded(value) for value in rows[f"{name}_kwh"]] for name in ("q10", "q50", "q90")},
            "method": rows["method"].to_list() if rows["method"].n_unique() > 1 else rows["method"][0],
        }
        yield Publication(topic=f"energy/{premise}/{flow}/forecast", payload=_compact(content))


def of_prices(curves: pl.DataFrame, *, now: datetime, zone: str | None = None) -> Iterator[Publication]:
    """Yield the newest revision of each zone's days, and what a kWh costs now: `energy/price`, a bare number."""
    newest = curves.filter(pl.col("revision") == pl.col("revision").max().over("zone_id", "delivery_date"))
    for _, day in newest.group_by("zone_id", "delivery_date", maintain_order=True):
        message = exchange.day_message(day)
        yield Publication(topic=message.topic, payload=message.payload, is_retained=message.retain)
    zones = newest["zone_id"].unique().sort().to_list()
    if zones:
        shown = newest.filter(pl.col("zone_id") == (zone or zones[0]))
        present = None if shown.is_empty() else exchange.present_message(shown, now=now)
        if present is not None:
            yield Publication(topic=present.topic, payload=present.payload)


class Memory:
    """What was published last, by topic, in a file: fingerprints of payloads that the broker has acknowledged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._known: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}  # not there, or torn: everything is published anew, which harms nobody

    def changed(self, publications: Iterable[Publication]) -> list[Publication]:
        """Return those that differ from what was published last; of one topic the last counts.

        What is no longer to be known is taken back: an empty retained message clears its topic.
        """
        newest = {each.topic: each for each in publications}
        gone = [Publication(topic=topic, payload="") for topic in self._known if topic not in newest]
        return [*gone, *(each for each in newest.values() if self._known.get(each.topic) != _fingerprint(each))]

    def remember(self, published: Sequence[Publication]) -> None:
        """Note what the broker has now; the file is replaced whole."""
        if not published:
            return
        for each in published:
            if each.payload:
                self._known[each.topic] = _fingerprint(each)
            else:
                self._known.pop(each.topic, None)
        _replace(self._path, self._known)


@dataclass(frozen=True, kw_only=True)
class Health:
    """How the publisher did at its last look, how much it sent, what went wrong, and when the next look is due."""

    looked_at_utc: str
    due_at_utc: str
    published: int
    trouble: str | None = None

    def keep(self, path: Path) -> None:
        """Write it to a file, which is replaced whole."""
        _replace(path, asdict(self))


def troubles_of(path: Path, *, now: datetime) -> str | None:
    """Return what is wrong with the publisher by its health file; None where it is well."""
    try:
        health = Health(**json.loads(path.read_text(encoding="utf-8")))
        due = datetime.fromisoformat(health.due_at_utc)
    except (OSError, ValueError, TypeError):
        return "No publisher has reported yet; start one with `energy publish`."
    if now > due + _OVERDUE_AFTER:
        return f"The publisher has been silent since {health.looked_at_utc}; look at its log."
    return health.trouble


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """Looks at the lake and sends what changed; `connect` makes a connection that was not entered yet."""

    lake: Lake
    memory: Memory
    connect: Callable[[], Sender]
    health_file: Path
    zone: str | None = None

    def publish_once(self, *, now: datetime) -> int:
        """Return how many messages the broker acknowledged.

        Raises:
            LakeError: the lake cannot be read.
            SourceError: the broker cannot be reached or refuses us.
        """
        with self.connect() as sender:
            return self._publish(sender, now=now)

    def publish_on(
        self, *, every_s: float, clock: Callable[[], datetime], is_over: Callable[[], bool]
    ) -> Iterator[tuple[datetime, int]]:
        """Publish until it is over, and yield when how much was; what fails is logged and tried again.

        A look is due after `every_s`, and when the price may be another: at each quarter of an hour.
        """
        while not is_over():
            try:
                with self.connect() as sender:
                    while not is_over():
                        now = clock()
                        count = self._publish(sender, now=now)
                        if count:
                            yield now, count
                        due = min(now + timedelta(seconds=every_s), _next_slot(now))
                        self._report(now, due, published=count)
                        _wait(clock, due, is_over, pause=sender.idle)
            except (LakeError, SourceError) as error:
                _LOG.warning("%s Trying again in %.0f s.", error, every_s)
                due = clock() + timedelta(seconds=every_s)
                self._report(clock(), due, published=0, trouble=str(error))
                _wait(clock, due, is_over, pause=time.sleep)

    def _report(self, now: datetime, due: datetime, *, published: int, trouble: str | None = None) -> None:
        Health(looked_at_utc=now.isoformat(), due_at_utc=due.isoformat(), published=published, trouble=trouble).keep(
            self.health_file
        )

    def _publish(self, sender: Sender, *, now: datetime) -> int:
        changed = self.memory.changed(publications(self.lake, now=now, zone=self.zone))
        refused_before = len(sender.refused)
        sender.send(
            Outgoing(number=number, topic=each.topic, payload=each.payload.encode(), is_retained=each.is_retained)
            for number, each in enumerate(changed)
        )
        sender.settle(within_s=_SETTLED_WITHIN_S)
        waiting = {*sender.under_way, *sender.refused[refused_before:]}
        acknowledged = [each for number, each in enumerate(changed) if number not in waiting]
        self.memory.remember(acknowledged)
        if waiting:
            _LOG.warning("%d of %d messages were not acknowledged in time, or refused", len(waiting), len(changed))
        return len(acknowledged)


def _wait(
    clock: Callable[[], datetime], until: datetime, is_over: Callable[[], bool], *, pause: Callable[[float], None]
) -> None:
    while not is_over() and clock() < until:
        pause(_LOOKED_EVERY_S)


def _series(rows: pl.DataFrame, *, flow: str) -> str:
    stamps = rows["day"].dt.strftime("%Y-%m-%d %H:%M:%S").to_list()
    return _compact({"timestamps": stamps, flow: [_rounded(value) for value in rows["energy_kwh"]]})


def _stamps(times: pl.Series) -> list[str]:
    return [exchange.utc_text(time) for time in times]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _replace(path: Path, content: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(content), encoding="utf-8")
    draft.replace(path)


def _compact(content: Mapping[str, object] | Sequence[object]) -> str:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False)


def _fingerprint(publication: Publication) -> str:
    return hashlib.sha256(publication.payload.encode()).hexdigest()[:32]


def _next_slot(now: datetime) -> datetime:
    past = now.replace(second=0, microsecond=0)
    return past + timedelta(minutes=15 - past.minute % 15)

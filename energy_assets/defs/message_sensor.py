"""The sensor that lands MQTT messages: a little by itself within seconds, much by a run."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import dagster as dg

from energy_assets.contracts import READINGS_SEGMENTS
from energy_assets.defs.contract_checks import CONTRACT_CHECK, contract_result
from energy_assets.defs.readings import land_messages
from energy_assets.errors import EnergyAssetsError, SourceError
from energy_assets.lake import Lake
from energy_assets.message_landing import pending_segments, spools
from energy_assets.messaging.segments import Segment, sealed_segments
from energy_assets.readings.source import load_sources
from energy_assets.settings import Settings

SECOND_TRY_AFTER_S = 300.0
"""How long segments wait after a run that left them, as one that is damaged does."""
LANDED_HERE_BYTES, LANDED_HERE_SEGMENTS = 1024 * 1024, 100
"""What the sensor lands itself, about a second's work: a run would cost five seconds of CPU and 250 MB to start."""

_UNDER_WAY = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
MESSAGES_JOB = dg.define_asset_job(
    "messages",
    dg.AssetSelection.assets("readings/segments"),
    description="New segments of MQTT messages.",
)


@dg.sensor(
    job=MESSAGES_JOB,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Lands the sealed segments of MQTT messages that the lake has not landed yet.",
    required_resource_keys={"lake", "settings"},
)
def new_segments(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.RunRequest | dg.SkipReason:
    """Land the segments that wait, or ask for a run where they are many or damaged, unless one is on its way.

    What was landed stands in the lake; the cursor only says what was asked for and when, so that a landing that fails
    is tried again, after a while, and that nothing waited, so that an idle spool costs no look into the lake.
    """
    lake: Lake = context.resources.lake
    settings: Settings = context.resources.settings
    folders = spools(load_sources(settings.sources_folder))
    seen = {str(folder): [_names_in(folder), *(each.name for each in those)] for folder, those in folders.items()}
    asked = json.loads(context.cursor or "{}")
    if asked.get("settled") == seen:
        return dg.SkipReason("no segment waits" if seen else "no source of MQTT messages is declared")
    readers = [each for those in folders.values() for each in those]
    waiting = {source.name: pending_segments(lake, source) for source in readers}
    segments = sum(len(those) for those in waiting.values())
    if not segments:
        context.update_cursor(json.dumps({"settled": seen}))
        return dg.SkipReason("no segment waits")
    under_way = context.instance.get_runs_count(dg.RunsFilter(job_name=MESSAGES_JOB.name, statuses=list(_UNDER_WAY)))
    if under_way:
        return dg.SkipReason(f"{segments} segments wait, and a landing is on its way")
    mark, now = _mark_of(waiting), time.time()
    if asked.get("mark") == mark and now - asked["at_s"] < SECOND_TRY_AFTER_S:
        return dg.SkipReason(f"{segments} segments wait for their second try")
    if asked.get("mark") != mark and _are_few(waiting):
        try:
            landed = _landed_here(lake, settings)
            told = dg.SkipReason(f"{segments} segments were landed by the sensor itself; a run was not needed")
            return dg.SensorResult(asset_events=landed, skip_reason=told, cursor="{}")
        except EnergyAssetsError as error:
            context.log.warning(f"A run is asked for what the sensor could not land: {error}")
    context.update_cursor(json.dumps({"mark": mark, "at_s": now}))
    return dg.RunRequest(run_key=f"segments {mark} {now:.0f}")


def hash_of(text: str) -> int:
    """Return a 64-bit fingerprint of a text, the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _landed_here(lake: Lake, settings: Settings) -> list[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
    told = land_messages(lake, settings, message=f"sensor {new_segments.name}")
    if failures := told["failed_sources"].data:
        raise SourceError(" ".join(failures.values()))
    checked = contract_result(lake, READINGS_SEGMENTS, None)
    return [
        dg.AssetMaterialization(asset_key=dg.AssetKey(READINGS_SEGMENTS.asset_key), metadata=told),
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(READINGS_SEGMENTS.asset_key),
            check_name=CONTRACT_CHECK,
            passed=checked.passed,
            description=checked.description,
            metadata=checked.metadata,
            blocking=True,
        ),
    ]


def _are_few(waiting: Mapping[str, Sequence[Segment]]) -> bool:
    those = [each for segments in waiting.values() for each in segments]
    return len(those) <= LANDED_HERE_SEGMENTS and sum(each.path.stat().st_size for each in those) <= LANDED_HERE_BYTES


def _mark_of(waiting: Mapping[str, Sequence[Segment]]) -> str:
    names = {source: [each.path.name for each in segments] for source, segments in waiting.items()}
    return f"{hash_of(json.dumps(names, sort_keys=True)):016x}"


def _names_in(spool: Path) -> str:
    return f"{hash_of(' '.join(each.path.name for each in sealed_segments(spool))):016x}"

"""The registry against a real MLflow store on SQLite: versions, aliases, refusals, and every way it can fail."""

import math
import shutil
import socket
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from energy_assets.contracts import UTC_TIME
from energy_assets.errors import ModelError
from energy_assets.models.archive import ARCHIVE_NAME, read_archive, write_archive
from energy_assets.models.card import TrainingFacts, card, card_page, flat_metrics, judge_first_version, skill
from energy_assets.models.evaluation import Skill
from energy_assets.models.promotion import Decision, Evidence
from energy_assets.models.registry import LoadedModel, Registry, UnresolvedModelError, registered_name
from energy_assets.models.succession import about
from energy_assets_tests.models.constant_model import ConstantModel

NAME = registered_name("electricity", interval_minutes=60)
T0 = datetime(2026, 3, 1, tzinfo=UTC)
GOOD = {"model": {"nmae": 0.08, "coverage_80": 0.79}, "last_week": {"nmae": 0.10}}
BAD = {"model": {"nmae": 0.12, "coverage_80": 0.60}, "last_week": {"nmae": 0.10}}
FACTS = TrainingFacts(
    lake_snapshot_id=17,
    git_commit="0123456789abcdef",
    feature_columns=("hour", "temperature_c"),
    features_hash="feedbeef",
    data_hash="cafe",
    training_starts_at_utc=T0 - timedelta(days=365),
    training_ends_at_utc=T0 - timedelta(days=14),
    training_rows=8760,
    meters=2,
    seed=1,
    unseen_starts_at_utc=T0 - timedelta(days=14),
    unseen_ends_at_utc=T0,
    parameters={"trees": 50},
)
FEATURES = pl.DataFrame(
    {
        "meter_id": ["a", "b"],
        "issued_at_utc": [T0, T0],
        "starts_at_utc": [T0, T0],
        "hour": pl.Series([0, 0], dtype=pl.Int8),
        "is_holiday": [False, True],
        "temperature_c": [3.5, None],
        "scale_kwh": [2.0, 10.0],
    },
    schema_overrides={"issued_at_utc": UTC_TIME, "starts_at_utc": UTC_TIME},
)


def register(
    registry: Registry,
    level: float,
    metrics: dict[str, dict[str, float]],
    name: str = NAME,
    decision: Decision | None = None,
):
    variants = {"full": ConstantModel(level), "without_weather": ConstantModel(level * 2)}
    return registry.register(
        variants,
        name=name,
        facts=FACTS,
        metrics=metrics,
        plots={"skill.png": b"\x89PNG"},
        input_example=FEATURES,
        decision=decision,
    )


def medians(model: LoadedModel) -> list[float]:
    return model.variants["full"].predict(FEATURES)["q50"].to_list()


def at(folder: Path, *, cache: Path | None = None) -> Registry:
    return Registry(
        tracking_uri=f"sqlite:///{folder / 'mlflow.sqlite'}", artifact_folder=folder / "artifacts", cache_folder=cache
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a store in which versions 1 (champion), 2 and 3 of NAME are registered."""
    folder = tmp_path_factory.mktemp("store")
    registry = at(folder)
    with pytest.raises(UnresolvedModelError) as caught:
        registry.resolve(NAME)
    assert caught.value.reason == "registry_empty"
    for level in (1.0, 2.0, 3.0):
        register(registry, level, GOOD)
    return folder


def test_first_version_is_champion_and_later_ones_wait_as_challengers(store: Path):
    registry = at(store)
    assert registry.version(NAME, alias="champion") == 1
    assert registry.version(NAME, alias="challenger") == 3
    champion = registry.resolve(NAME)
    assert champion.model_version == "load-electricity-60min/1"
    assert champion.tags["lake_snapshot_id"] == "17"
    assert champion.tags["feature_columns"] == "hour,temperature_c"
    assert set(champion.variants) == {"full", "without_weather"}
    assert medians(champion) == [2.0, 10.0]


def test_rollback_restores_identical_forecasts(store: Path):
    registry = at(store)
    before = registry.resolve(NAME).variants["full"].predict(FEATURES)
    registry.promote(NAME, 2, now=T0, reason="a test")
    assert medians(registry.resolve(NAME)) == [4.0, 20.0]
    assert registry.version(NAME, alias="previous_champion") == 1
    assert registry.rollback(NAME, now=T0 + timedelta(days=1), reason="it was worse").version == 1
    assert registry.resolve(NAME).variants["full"].predict(FEATURES).equals(before)
    assert registry.version(NAME, alias="previous_champion") == 2


def test_promoting_the_champion_again_keeps_the_previous_one(store: Path):
    registry = at(store)
    before = registry.version(NAME, alias="previous_champion")
    assert registry.promote(NAME, registry.version(NAME) or 0, now=T0, reason="again") is None
    assert registry.version(NAME, alias="previous_champion") == before


def test_promoting_what_does_not_exist_is_refused(store: Path):
    with pytest.raises(ModelError, match="99"):
        at(store).promote(NAME, 99, now=T0, reason="none")


def test_first_version_worse_than_last_week_stays_challenger_and_says_why(store: Path):
    registry = at(store)
    name = registered_name("hot_water", interval_minutes=15)
    made = register(registry, 1.0, BAD, name)
    assert made.aliases == ("challenger",)
    assert made.not_promoted_because == "worse_than_last_week: skill -20.0% in nmae on unseen days"
    with pytest.raises(UnresolvedModelError) as caught:
        registry.resolve(name)
    assert caught.value.reason == "no_champion"
    challenger = registry.resolve(name, alias="challenger")
    assert challenger.tags["not_promoted_because"] == made.not_promoted_because
    with pytest.raises(ModelError, match="no previous champion"):
        registry.rollback(name, now=T0, reason="none")


def test_every_change_of_champion_is_recorded_with_its_reason(store: Path):
    registry = at(store)
    name = registered_name("steam", interval_minutes=60)
    register(registry, 1.0, GOOD, name)
    found = Evidence(
        rival="version 1",
        metric="pinball",
        skill=Skill(value=0.05, low=0.02, high=0.08),
        coverage=0.79,
        rival_coverage=0.75,
        starts_at_utc=T0 - timedelta(days=14),
        ends_at_utc=T0,
        days=14,
        meters=2,
    )
    better = Decision(is_promoted=True, is_first=False, verdict="champion: better", evidence=found)
    assert register(registry, 2.0, GOOD, name, decision=better).aliases == ("challenger", "champion")
    worse = Decision(is_promoted=False, is_first=False, verdict="stays challenger, it is worse")
    assert register(registry, 3.0, GOOD, name, decision=worse).not_promoted_because == worse.verdict
    registry.promote(name, 3, now=T0, reason="the boss says so", how="forced")
    registry.rollback(name, now=T0 + timedelta(hours=1), reason="the boss was wrong")
    record = sorted(registry.promotions(name), key=lambda each: (each.how, each.version))
    assert [(each.how, each.previous, each.version) for each in record] == [
        ("evidence", 1, 2),
        ("first", None, 1),
        ("forced", 2, 3),
        ("rollback", 3, 2),
    ]
    assert record[0].figures["skill_interval"] == "+0.0200 to +0.0800 (95%)"
    assert record[2].figures == {}
    assert record[3].reason == "the boss was wrong"
    assert record[3].at_utc == T0 + timedelta(hours=1)
    assert all(len(each.archive_sha256) == 64 for each in record)
    listed = registry.versions(name)
    assert [(each.version, each.aliases) for each in listed] == [
        (3, ("challenger", "previous_champion")),
        (2, ("champion",)),
        (1, ()),
    ]
    assert listed[1].tags["champion_because"] == "the boss was wrong"
    import mlflow

    found = mlflow.MlflowClient(tracking_uri=registry.tracking_uri).get_registered_model(name)
    assert found.tags["champion"] == "version 2 since 2026-03-01, NMAE 8.0%, in 80 % band 79.0%"
    assert next(iter(found.tags)) == "champion"  # which lists of models show
    shown = found.description
    assert shown.splitlines()[-4:-1] == [
        "- 2026-03-01 01:00 UTC: version 2 after 3 (rollback) — the boss was wrong",
        "- 2026-03-01 00:00 UTC: version 3 after 2 (forced) — the boss says so",
        shown.splitlines()[-2],
    ]
    assert "version 1 (first) — champion, first version and better than last_week" in shown.splitlines()[-1]
    assert listed[2].metrics["skill/last_week"] == pytest.approx(0.2)
    assert name in registry.names()


def test_measured_error_in_use_is_drawn_over_the_days_and_the_same_again_changes_nothing(store: Path):
    import mlflow

    registry = at(store)
    measured = {T0: {"live/nmae": 0.1, "live/coverage_80": 0.8}, T0 + timedelta(days=1): {"live/nmae": 0.2}}
    for _ in range(2):
        registry.log_live(NAME, version=1, measured=measured, files={"leaderboard/leaderboard.csv": "site"})
    client = mlflow.MlflowClient(tracking_uri=registry.tracking_uri, registry_uri=registry.tracking_uri)
    run_id = client.get_model_version(NAME, "1").run_id
    history = sorted((each.step, each.value) for each in client.get_metric_history(run_id, "live/nmae"))
    day = (T0.date() - date(1970, 1, 1)).days
    assert history == [(day, 0.1), (day + 1, 0.2)]
    assert [item.path for item in client.list_artifacts(run_id, "leaderboard")] == ["leaderboard/leaderboard.csv"]


@pytest.mark.parametrize("way", [pytest.param("move", id="moved"), pytest.param("copytree", id="copied")])
def test_a_store_that_was_moved_or_copied_serves_from_where_it_lies(tmp_path: Path, way: str):
    import mlflow

    before, after = tmp_path / "old home" / "mlflow", tmp_path / "new" / "mlflow"
    register(at(before), 1.5, GOOD)
    getattr(shutil, way)(before.parent, after.parent)
    registry = at(after)
    assert medians(registry.resolve(NAME)) == [3.0, 15.0]
    client = mlflow.MlflowClient(tracking_uri=registry.tracking_uri, registry_uri=registry.tracking_uri)
    run_id = client.get_model_version(NAME, "1").run_id
    assert [item.path for item in client.list_artifacts(run_id, "plots")] == ["plots/skill.png"]
    assert {item.path for item in client.list_artifacts(run_id)} == {"plots", "model_card.md", "model_card.html"}
    assert client.get_run(run_id).info.artifact_uri.startswith(after.as_uri())
    assert register(registry, 2.0, GOOD).version == 2
    new = {path.relative_to(after) for path in after.rglob(ARCHIVE_NAME)}
    old = {path.relative_to(before) for path in before.rglob(ARCHIVE_NAME)}
    assert len(new - old) == (1 if way == "copytree" else 2)


def test_a_store_elsewhere_than_its_artifacts_is_left_alone(tmp_path: Path):
    register(at(tmp_path / "a"), 1.0, GOOD)
    other = Registry(tracking_uri=at(tmp_path / "a").tracking_uri, artifact_folder=tmp_path / "b" / "artifacts")
    assert medians(other.resolve(NAME)) == [2.0, 10.0]
    assert not (tmp_path / "b").exists()


def test_the_card_is_also_a_page_with_its_plots():
    page = card_page(card(NAME, facts=FACTS, metrics=GOOD, verdict="a < b"), plots={"skill.png": b"png"})
    assert "<p>load-electricity-60min: quantiles of energy" in page
    assert "<td><b>this model</b></td><td>8.0%</td><td>79.0%</td><td></td>" in page
    assert "<td>last week</td><td>10.0%</td><td></td><td>+20.0%</td>" in page
    assert "<h3>Where it comes from</h3>" in page
    assert "<li>weather: <code>temperature_c</code></li>" in page
    assert "a &lt; b" in page
    assert 'src="data:image/png;base64,cG5n"' in page
    assert "**" not in page


def test_the_description_of_a_registered_model_names_what_it_is_for():
    text = about("load-chilled-water-15min")
    assert "**chilled water** meters with readings every **15 minutes**" in text


def test_mlflow_serves_the_same_numbers_and_shows_card_metrics_and_plots(store: Path):
    import mlflow

    from energy_assets.models import pyfunc

    registry = at(store)
    client = mlflow.MlflowClient(tracking_uri=registry.tracking_uri, registry_uri=registry.tracking_uri)
    version = client.get_model_version(NAME, "3")
    assert version.description.splitlines()[0] == (
        "load-electricity-60min: quantiles of energy per interval for the delivery day, kWh; NMAE 8.0% (last week "
        "10.0%); 79% in the 80 % band."
    )
    run = client.get_run(version.run_id)
    assert run.info.run_name == "2026-02-15 electricity-60min"
    assert [(each.dataset.name, each.dataset.digest) for each in run.inputs.dataset_inputs] == [
        ("lake snapshot 17", "cafe")
    ]
    kinds = {each.name: each.tags.get("mlflow.experimentKind") for each in client.search_experiments()}
    assert kinds == {"load forecasts": "custom_model_development"}  # and no empty experiment Default
    assert run.data.metrics == pytest.approx(
        {"nmae": 0.08, "coverage_80": 0.79, "last_week/nmae": 0.10, "skill/last_week": 0.2}
    )
    assert run.data.params == {"trees": "50"}
    assert [item.path for item in client.list_artifacts(run.info.run_id, "plots")] == ["plots/skill.png"]
    registry.version(NAME)  # MLflow keeps the address of the store that was asked last
    served = mlflow.pyfunc.load_model(f"models:/{NAME}/3")
    assert served.metadata.signature.inputs.input_names() == FEATURES.columns
    assert served.predict(pyfunc.to_wire(FEATURES))["q50"].to_list() == [6.0, 30.0]


def test_last_known_version_serves_while_the_server_is_down(store: Path, tmp_path: Path):
    champion = at(store, cache=tmp_path).resolve(NAME)
    down = Registry(tracking_uri=f"http://127.0.0.1:{_closed_port()}", cache_folder=tmp_path)
    kept = down.resolve(NAME)
    assert kept.notice == "registry_unreachable_last_known_version"
    assert kept.version == champion.version
    assert medians(kept) == medians(champion)


def test_server_that_refuses_is_unreachable_at_once():
    began = time.monotonic()
    with pytest.raises(UnresolvedModelError, match=r"127\.0\.0\.1") as caught:
        Registry(tracking_uri=f"http://127.0.0.1:{_closed_port()}").resolve(NAME)
    assert caught.value.reason == "registry_unreachable"
    assert time.monotonic() - began < 3


def test_torn_store_file_is_unreachable_at_once(tmp_path: Path):
    (tmp_path / "mlflow.sqlite").write_bytes(b"not a database, not at all")
    with pytest.raises(UnresolvedModelError, match="not a SQLite file") as caught:
        at(tmp_path).resolve(NAME)
    assert caught.value.reason == "registry_unreachable"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-20]), "model_broken", id="truncated"),
        pytest.param(lambda path: path.write_bytes(b""), "model_broken", id="empty"),
        pytest.param(lambda path: path.unlink(), "archive_unavailable", id="gone"),
    ],
)
def test_broken_archive_is_told_apart(store: Path, damage, reason: str):
    registry = at(store)
    name = f"load-damage-{reason}-{damage.__hash__()}"
    register(registry, 1.0, GOOD, name)
    newest = max(store.rglob(ARCHIVE_NAME), key=lambda path: path.stat().st_mtime_ns)
    damage(newest)
    with pytest.raises(UnresolvedModelError) as caught:
        registry.resolve(name)
    assert caught.value.reason == reason


def test_archive_keeps_variants_and_is_the_same_for_the_same_models(tmp_path: Path):
    variants = {"full": ConstantModel(1.5)}
    first, second = (write_archive(variants, tmp_path / name) for name in ("a.zip", "b.zip"))
    assert first == second
    assert read_archive(tmp_path / "a.zip") == variants


def test_archive_without_full_variant_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="full"):
        write_archive({"without_weather": ConstantModel(1.0)}, tmp_path / "a.zip")


def test_archive_loads_nothing_from_foreign_modules(tmp_path: Path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("full/loader.txt", "os.path")
    with pytest.raises(ModelError, match=r"os\.path"):
        read_archive(tmp_path / "a.zip")


@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param({"full/loader.txt": "energy_assets.models.removed"}, id="a module that is gone"),
        pytest.param(
            {"full/loader.txt": ConstantModel.__module__, "full/model.json": '{"level": 1, "former": 2}'},
            id="a field that is gone",
        ),
        pytest.param({"full/loader.txt": ConstantModel.__module__, "full/model.json": "[]"}, id="another layout"),
        pytest.param({"full/loader.txt": ConstantModel.__module__}, id="a file that is gone"),
    ],
)
def test_what_other_code_wrote_is_a_broken_model_and_says_what_to_do(tmp_path: Path, foreign: dict[str, str]):
    import zipfile

    from energy_assets.models.archive import fingerprint
    from energy_assets.models.cache import Found, read_whole

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, text in foreign.items():
            archive.writestr(name, text)
    found = Found(name=NAME, version=1, tags={"archive_sha256": fingerprint(tmp_path / "a.zip")})
    with pytest.raises(UnresolvedModelError, match="`energy models train load-electricity-60min` makes ano") as caught:
        read_whole(tmp_path / "a.zip", found)
    assert caught.value.reason == "model_broken"


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        pytest.param(GOOD, 0.2, id="better"),
        pytest.param(BAD, -0.2, id="worse"),
        pytest.param({"model": {"nmae": 0.1}}, None, id="baseline-absent"),
        pytest.param({"model": {"nmae": 0.1}, "last_week": {"nmae": 0.0}}, None, id="baseline-perfect"),
        pytest.param({"model": {"nmae": math.nan}, "last_week": {"nmae": 0.1}}, math.nan, id="not-a-number"),
    ],
)
def test_skill_and_gate_agree(metrics: dict[str, dict[str, float]], expected: float | None):
    assert skill(metrics, baseline="last_week") == pytest.approx(expected, nan_ok=True)
    passes = expected is not None and expected > 0
    assert (judge_first_version(metrics) is None) == passes


def test_card_shows_every_method_and_metric():
    text = card(NAME, facts=FACTS, metrics={**GOOD, "own": {"gain": 0.25}}, verdict="challenger")
    assert "| method | NMAE | in 80 % band | gain | skill in NMAE against it |" in text
    assert "| **this model** | 8.0% | 79.0% |  |  |" in text
    assert "| last week | 10.0% |  |  | +20.0% |" in text
    assert "| own |  |  | 0.25 |  |" in text
    assert "- other: `hour`" in text
    assert set(flat_metrics(GOOD)) == {"nmae", "coverage_80", "last_week/nmae", "skill/last_week"}


def test_who_judged_against_another_champion_does_not_promote(store: Path):
    """Two people compare at the same time: the second to decide had compared with a champion that is none any more."""
    registry = at(store)
    name = registered_name("gas", interval_minutes=60)
    for level in (1.0, 2.0, 3.0):
        register(registry, level, GOOD, name)
    registry.promote(name, 2, now=T0, reason="first", instead_of=1)
    with pytest.raises(ModelError, match="version 2 became champion while version 3 was judged against version 1"):
        registry.promote(name, 3, now=T0, reason="second", instead_of=1)
    evidence = Evidence(
        rival="version 1",
        metric="pinball",
        skill=Skill(value=0.05, low=0.02, high=0.08),
        coverage=0.79,
        rival_coverage=0.75,
        starts_at_utc=T0,
        ends_at_utc=T0,
        days=14,
        meters=2,
    )
    late = Decision(is_promoted=True, is_first=False, verdict="champion: better", evidence=evidence)
    made = register(registry, 4.0, GOOD, name, decision=late)
    assert made.aliases == ("challenger",)
    assert "version 2 has become champion meanwhile" in str(made.not_promoted_because)
    assert registry.version(name) == 2


def test_promotions_at_the_same_time_are_all_recorded(store: Path):
    from concurrent.futures import ThreadPoolExecutor

    registry = at(store)
    name = registered_name("water", interval_minutes=60)
    for level in (1.0, 2.0, 3.0, 4.0, 5.0):
        register(registry, level, GOOD, name)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda each: registry.promote(name, each, now=T0, reason=f"{each}"), (2, 3, 4, 5)))
    record = [(each.previous, each.version) for each in registry.promotions(name)]
    assert len(record) == 5
    assert {each.version for each in done if each} == {2, 3, 4, 5}
    # Each took over from the one before, and who is champion is whom the record names last.
    followed = dict(record)
    order = [followed[None]]
    while order[-1] in followed:
        order.append(followed[order[-1]])
    assert len(order) == 5
    assert registry.version(name) == order[-1]
    assert registry.version(name, alias="previous_champion") == order[-2]


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""Peers, expected shapes, response groups and shape scores, by hand."""

from datetime import date

import polars as pl
import pytest

from energy_assets.profiles.peers import expected_shape, peers_of, response_groups, shape_scores
from energy_assets_tests.profiles.planted import planted


def registry(**sites: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "meter_id": list(sites),
            "premise_id": [f"p.{name}" for name in sites],
            "site_id": list(sites.values()),
            "commodity": ["electricity"] * len(sites),
            "direction": ["consumption"] * len(sites),
        }
    )


@pytest.mark.parametrize(
    ("cluster_of_a", "uses", "expected"),
    [
        pytest.param("c1", {}, (["b", "c", "d"], "cluster"), id="its cluster"),
        pytest.param(None, dict.fromkeys("abcd", "Office"), (["b", "c", "d"], "site_and_use"), id="site and use"),
        pytest.param(None, dict.fromkeys("abce", "Office"), (["b", "c", "e"], "use"), id="use elsewhere"),
        pytest.param(None, {"a": "School"}, (["b", "c", "d"], "site"), id="same site"),
    ],
)
def test_peers(cluster_of_a: str | None, uses: dict[str, str], expected: tuple[list[str], str]) -> None:
    meters = registry(a="s", b="s", c="s", d="s", e="t")
    premises = pl.DataFrame(
        {"premise_id": meters["premise_id"], "primary_use": [uses.get(name) for name in meters["meter_id"]]},
        schema_overrides={"primary_use": pl.String},
    )
    members = pl.DataFrame({"meter_id": list("abcde"), "cluster_id": [cluster_of_a, "c1", "c1", "c1", "c2"]})
    found = peers_of("a", members=members, meters=meters, premises=premises)
    assert (found["meter_id"].sort().to_list(), found["level"].unique().item()) == expected


def test_the_expected_shape_is_the_median_of_peers_whatever_their_size() -> None:
    shapes, _ = planted({"office": 3}, noise=0.0)
    expected = expected_shape(pl.DataFrame({"meter_id": ["office.000", "office.001", "office.002"]}), shapes=shapes)
    working = expected.filter(pl.col("day_kind") == "working", pl.col("season") == "winter")["relative"].to_list()
    # Cells count alike, half of them working days: the mean is ((10 * 10 + 14 * 2) / 24 + 2) / 2 = 11 / 3.
    assert working == pytest.approx([2 / (11 / 3)] * 8 + [10 / (11 / 3)] * 10 + [2 / (11 / 3)] * 6)
    assert expected_shape(pl.DataFrame({"meter_id": ["office.000"]}), shapes=shapes).is_empty()


def test_response_groups_have_shares_of_the_load_and_weights_of_mean_one() -> None:
    shapes, traits = planted({"office": 2, "home": 1})
    traits = traits.with_columns(mean_kw=pl.Series([3.0, 1.0, 1.0]))
    members = traits.select("meter_id", cluster_id=pl.Series(["c1", "c1", None]))
    clusters = pl.DataFrame({"cluster_id": ["c1"], "name": ["high by day"], "as_of_utc": [traits["as_of_utc"][0]]})
    groups = response_groups(members, clusters=clusters, shapes=shapes, traits=traits)
    assert groups["name"].to_list() == ["high by day (c1)", "others"]
    assert groups["share"].to_list() == pytest.approx([0.8, 0.2])
    assert [sum(weights) / 24 for weights in groups["hourly_weights"]] == pytest.approx([1, 1], abs=1e-3)
    assert groups["hourly_weights"].list.arg_max().to_list()[1] == 19


def test_a_weekend_that_runs_like_a_working_day_scores_high() -> None:
    shapes, _ = planted({"office": 1}, noise=0.0)
    cells = shapes.filter(pl.col("season") == "winter")
    working = cells.filter(pl.col("day_kind") == "working")
    rest = cells.filter(pl.col("day_kind") == "rest")

    def day(on: date, kind: str, like: pl.DataFrame) -> pl.DataFrame:
        return like.select(
            "meter_id", "local_hour", "season", day_kind=pl.lit(kind), local_date=pl.lit(on),
            energy_kwh=pl.col("mean_kw") * 1.3,
        )  # fmt: skip

    days = pl.concat(
        [
            day(date(2025, 1, 6), "working", working),
            day(date(2025, 1, 11), "rest", rest),
            day(date(2025, 1, 12), "rest", working),
        ]
    )
    scores = shape_scores(days, shapes=shapes)["score"].to_list()
    assert scores[:2] == pytest.approx([0, 0], abs=1e-9)
    assert scores[2] > 0.8

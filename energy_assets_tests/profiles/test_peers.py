"""Peers, by hand."""

import polars as pl
import pytest

from energy_assets.profiles.peers import peers_of


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

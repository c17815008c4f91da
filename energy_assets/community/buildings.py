"""The catalogue of buildings: site, use, size, age and meters in the proportions of GEPIII, drawn once by seed.

Building k is the same in a community of any size: a smaller one takes fewer, evenly spread, of the same buildings.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import polars as pl

from energy_assets.community.places import CAMPUSES
from energy_assets.community.streams import Array, stream

CATALOGUE_SIZE = 1449
MONSTER_BUILDING = 1099
METER_CODES = {0: "electricity", 1: "chilled_water", 2: "steam", 3: "hot_water"}
# Buildings a site, in the order of GEPIII's building ids.
_SITE_SIZES = (105, 51, 135, 274, 91, 89, 44, 15, 70, 124, 30, 5, 36, 154, 102, 124)
# Meters of the whole catalogue: 2,380 as in GEPIII, and the sites that have a network of each kind.
_METER_COUNTS = {0: 1413, 1: 498, 2: 324, 3: 145}
_NETWORK_SITES = {1: (0, 2, 6, 7, 9, 10, 13, 14, 15), 2: (6, 7, 9, 11, 13, 14, 15), 3: (1, 2, 7, 10, 11, 14, 15)}
_CAMPUS_USES = ("Education", "Lodging/residential")

# Use: share of buildings, median floor area (sq ft), its log deviation.
_USES: dict[str, tuple[float, float, float]] = {
    "Education": (549, 79_700, 0.99),
    "Office": (279, 52_750, 1.03),
    "Entertainment/public assembly": (184, 27_850, 1.5),
    "Public services": (156, 21_800, 1.27),
    "Lodging/residential": (147, 58_040, 1.0),
    "Other": (25, 10_580, 1.33),
    "Healthcare": (23, 68_640, 1.21),
    "Parking": (22, 300_000, 1.0),
    "Warehouse/storage": (13, 19_060, 1.07),
    "Manufacturing/industrial": (12, 24_150, 1.18),
    "Retail": (11, 31_670, 1.5),
    "Services": (10, 110_000, 1.3),
    "Technology/science": (6, 56_670, 0.87),
    "Food sales and service": (5, 33_220, 0.4),
    "Utility": (4, 22_700, 1.2),
    "Religious worship": (3, 10_000, 1.34),
}
# Where a site is not a plain mixture: share of its buildings that are of one use.
_SITE_USES = {
    4: ("Education", 0.6),
    7: ("Education", 1.0),
    8: ("Public services", 0.62),
    11: ("Education", 1.0),
    13: ("Office", 0.5),
    14: ("Office", 0.3),
}


def buildings(count: int, *, seed: int) -> pl.DataFrame:
    """Return `count` buildings by id: site (0..15), primary_use, square_feet, year_built, floor_count, meters.

    `meters` lists Kaggle's meter codes. Beyond the 1,449 of GEPIII the catalogue repeats with other draws.
    """
    copies = -(-count // CATALOGUE_SIZE)
    whole, rest = divmod(count, CATALOGUE_SIZE)
    frames = [_catalogue(seed, copy) for copy in range(copies)]
    if rest:
        chosen = _spread_order()[:rest]
        frames[whole] = frames[whole].filter(pl.col("building_id").is_in((chosen + whole * CATALOGUE_SIZE).tolist()))
    return pl.concat(frames).sort("building_id")


def meters_of(frame: pl.DataFrame) -> pl.DataFrame:
    """Return one row a meter: building_id, meter (code), commodity, site, primary_use, square_feet, year_built."""
    names = pl.DataFrame(
        {"meter": list(METER_CODES), "commodity": list(METER_CODES.values())}, schema_overrides={"meter": pl.Int64}
    )
    return (
        frame.explode("meters")
        .rename({"meters": "meter"})
        .join(names, on="meter", how="left", maintain_order="left")
        .sort("building_id", "meter")
    )


def _spread_order() -> Array:
    """Return the catalogue's ids so that every prefix is spread over it: the monster, one a site, then golden ratio."""
    golden = np.argsort(
        np.argsort((np.arange(CATALOGUE_SIZE) * 0.6180339887498949) % 1.0, kind="stable"), kind="stable"
    )
    first_of_site = np.cumsum((0, *_SITE_SIZES[:-1])) + np.array(_SITE_SIZES) // 2
    front = np.concatenate([[MONSTER_BUILDING], first_of_site])
    return np.concatenate([front, golden[~np.isin(golden, front)]])


@lru_cache(maxsize=16)
def _catalogue(seed: int, copy: int) -> pl.DataFrame:
    generator = stream(seed, "catalogue", copy)
    site = np.repeat(np.arange(len(_SITE_SIZES)), _SITE_SIZES)
    names = list(_USES)
    weights = np.array([_USES[name][0] for name in names], dtype=float)
    use = generator.choice(len(names), CATALOGUE_SIZE, p=weights / weights.sum())
    fixed = generator.random(CATALOGUE_SIZE)
    for place, (name, share) in _SITE_USES.items():
        use[(site == place) & (fixed < share)] = names.index(name)
    median = np.array([_USES[name][1] for name in names])[use]
    spread = np.array([_USES[name][2] for name in names])[use]
    # Public services of site 8 are small stations and shelters.
    area = median * np.exp(0.9 * spread * generator.standard_normal(CATALOGUE_SIZE)) * np.where(site == 8, 0.4, 1.0)
    area = np.clip(area, 283, 875_000)
    if copy == 0:
        use[MONSTER_BUILDING], area[MONSTER_BUILDING] = names.index("Education"), 390_000
    age = np.clip(2017 - generator.gamma(2.2, 22.0, CATALOGUE_SIZE), 1900, 2017).astype(int)
    floors = np.clip(
        np.round((area / 12_000) ** 0.75 * np.exp(0.35 * generator.standard_normal(CATALOGUE_SIZE))), 1, 26
    )
    meters = _meters(generator, site=site, use=[names[index] for index in use], area=area, copy=copy)
    return pl.DataFrame(
        {
            "building_id": np.arange(CATALOGUE_SIZE) + copy * CATALOGUE_SIZE,
            "site": site,
            "primary_use": [names[index] for index in use],
            "square_feet": np.round(area).astype(np.int64),
            "year_built": [
                int(y) if known else None
                for y, known in zip(age, generator.random(CATALOGUE_SIZE) < 0.466, strict=True)
            ],
            "floor_count": [
                int(f) if known else None
                for f, known in zip(floors, generator.random(CATALOGUE_SIZE) < 0.245, strict=True)
            ],
            "meters": meters,
        },
        schema_overrides={"year_built": pl.Int64, "floor_count": pl.Int64, "meters": pl.List(pl.Int64)},
    )


def _meters(generator: np.random.Generator, *, site: Array, use: list[str], area: Array, copy: int) -> list[list[int]]:
    """Return meter codes per building: thermal meters go to the larger buildings of sites with a network."""
    keen = np.log(area) / 3 + np.array([0.5 * (u in _CAMPUS_USES) - 3.0 * (u == "Parking") for u in use])
    has = np.zeros((4, CATALOGUE_SIZE), dtype=bool)
    for code in (1, 2, 3):
        score = keen + generator.gumbel(size=CATALOGUE_SIZE) * 0.8 - 1e6 * ~np.isin(site, _NETWORK_SITES[code])
        if code == 2 and copy == 0:
            score[MONSTER_BUILDING] = 1e6
        has[code, np.argsort(-score, kind="stable")[: _METER_COUNTS[code]]] = True
    # The few without electricity are those with a thermal meter that somebody else's transformer feeds.
    score = generator.random(CATALOGUE_SIZE) - 10.0 * has[1:].any(axis=0)
    score[MONSTER_BUILDING] = 1e6
    has[0] = True
    has[0, np.argsort(score, kind="stable")[: CATALOGUE_SIZE - _METER_COUNTS[0]]] = False
    return [[int(code) for code in np.flatnonzero(column)] for column in has.T]


def place_index(site: int) -> int:
    """Return the campus of a site number."""
    return site % len(CAMPUSES)

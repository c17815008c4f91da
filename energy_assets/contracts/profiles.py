"""Contracts of load profiles: the representative days of a meter, its traits, and the cluster that it belongs to."""

from energy_assets.contracts.metering import COMMODITIES, DIRECTIONS
from energy_assets.contracts.table import Column, Table, integer, number, text, time

SEASONS = ("winter", "spring", "summer", "autumn")
DAY_KINDS = ("working", "rest")

_CELL: tuple[Column, ...] = (
    text("season", "Season at the site, months DJF, MAM, JJA, SON in the north", allowed=SEASONS),
    text(
        "day_kind",
        "Monday to Friday, or Saturday, Sunday, a public holiday of the site or a closure",
        allowed=DAY_KINDS,
    ),
    integer("local_hour", "Hour of the site's clock", 0, "a clock"),
)

PROFILES_SHAPES = Table(
    schema="profiles",
    name="shapes",
    description="The mean day of a meter per season and kind of day, from its good days only.",
    columns=(
        text("meter_id", "Meter"),
        *_CELL,
        number("mean_kw", "Mean power in the hour"),
        number("known_hours", "Hours that it is the mean of", 0, because="a length"),
    ),
    key=("meter_id", "season", "day_kind", "local_hour"),
    sorted_by=("meter_id", "season", "day_kind", "local_hour"),
)

PROFILES_TRAITS = Table(
    schema="profiles",
    name="traits",
    description="What tells one meter's use from another's in a few numbers, from its good days.",
    columns=(
        text("meter_id", "Meter"),
        text("site_id", "Site"),
        text("commodity", "What flows", allowed=COMMODITIES),
        text("direction", "Which way", allowed=DIRECTIONS),
        time("as_of_utc", "End of the days that were looked at"),
        integer("days", "Local days with readings", 0, "a count"),
        integer("good_days", "Of these, days that passed the quality filter", 0, "a count"),
        number("mean_kw", "Mean power", nullable=True),
        number("load_factor", "Mean power over the mean daily peak", nullable=True),
        number("baseload_share", "Mean daily minimum over mean power", nullable=True),
        number("night_day_ratio", "Power of 0 to 5 over power of 9 to 17 o'clock", nullable=True),
        number("weekend_ratio", "Energy of a day of rest over that of a working day", nullable=True),
        number("temperature_slope_per_c", "Change of a day's energy per kelvin, share of the mean day", nullable=True),
        integer("peak_hour", "Hour of the site's clock with the highest mean power", 0, "a clock", nullable=True),
        text("unusable_because", "Why the meter has no profile; null where it has one", nullable=True),
    ),
    key=("meter_id",),
    sorted_by=("meter_id",),
)

PROFILES_CLUSTERS = Table(
    schema="profiles",
    name="clusters",
    description="Every fit's clusters of load profiles: what they are called, how large, how distinct, how stable.",
    columns=(
        text("cluster_id", "`<commodity>.<direction>.<number>`; the number stays with the shape over refits"),
        time("as_of_utc", "End of the days that the fit learned from"),
        text("commodity", "What flows", allowed=COMMODITIES),
        text("direction", "Which way", allowed=DIRECTIONS),
        text("name", "What the shape looks like, in words"),
        integer("meters", "Meters that the fit put into it", 1, "a cluster has members"),
        number("share", "Of the meters that were clustered", 0, 1, "a share"),
        integer("clusters", "Clusters of this fit and population", 1, "a count"),
        number("silhouette", "Mean silhouette of the members; null for a single cluster", -1, 1, nullable=True),
        number("stability", "Mean Jaccard similarity with its likeness in bootstrap refits", 0, 1, nullable=True),
        number("reach", "Largest distance at which a meter still belongs to it", 0, because="a distance"),
        text("origin", "matched to a cluster of the fit before, or new", allowed=("matched", "new")),
        text("run_id", "MLflow run of the fit", nullable=True),
    ),
    key=("cluster_id", "as_of_utc"),
    window_column="as_of_utc",
    sorted_by=("as_of_utc", "cluster_id"),
)

PROFILES_CENTROIDS = Table(
    schema="profiles",
    name="centroids",
    description="The shape in the middle of each cluster: its mean day per season and kind of day, of unit norm.",
    columns=(
        text("cluster_id", "Cluster"),
        time("as_of_utc", "End of the days that the fit learned from"),
        text("part", "`shape` or the name of a trait"),
        Column(**(vars(_CELL[0]) | {"nullable": True})),
        Column(**(vars(_CELL[1]) | {"nullable": True})),
        Column(**(vars(_CELL[2]) | {"nullable": True})),
        integer("position", "Position in the vector", 0, "a position"),
        number("value", "Component of the centroid"),
    ),
    key=("cluster_id", "as_of_utc", "position"),
    window_column="as_of_utc",
    sorted_by=("as_of_utc", "cluster_id", "position"),
)

PROFILES_METERS = Table(
    schema="profiles",
    name="meters",
    description="The cluster of every meter, or why it has none.",
    columns=(
        text("meter_id", "Meter"),
        text("site_id", "Site"),
        text("cluster_id", "Cluster; null when unassigned", nullable=True),
        text("unassigned_because", "Why it has no cluster", nullable=True),
        number("distance", "From the centroid of the nearest cluster", 0, because="a distance", nullable=True),
        number("certainty", "1 - distance to the nearest over distance to the second", 0, 1, "a share", nullable=True),
        text("nearest_cluster_id", "The nearest cluster, also of a meter that is too far from it", nullable=True),
        time("as_of_utc", "End of the days that the meter's profile is from"),
        time("fitted_as_of_utc", "End of the days that the clusters are from", nullable=True),
    ),
    key=("meter_id",),
    sorted_by=("meter_id",),
)

"""Contracts of weather: what was observed, and what was forecast when."""

from energy_assets.contracts.table import Column, Table, integer, number, text, time

_QUANTITIES: tuple[Column, ...] = (
    number("temperature_c", "Air temperature at 2 m", -90, 60, "records on Earth", nullable=True),
    number("dew_point_c", "Dew point at 2 m", -95, 40, "records on Earth", nullable=True),
    number("relative_humidity_fraction", "Relative humidity", 0, 1.1, "supersaturation is small", nullable=True),
    number("wind_speed_ms", "Wind speed at 10 m", 0, 115, "record gust", nullable=True),
    number("wind_direction_deg", "Direction the wind comes from", 0, 360, "a circle", nullable=True),
    number("cloud_cover_fraction", "Share of sky covered", 0, 1, "a share", nullable=True),
    number("precipitation_mm", "Precipitation in the interval", 0, 500, "record hour is 305 mm", nullable=True),
    number("snow_depth_m", "Snow lying", 0, 20, "record is 12 m", nullable=True),
    number("sea_level_pressure_hpa", "Pressure reduced to sea level", 850, 1100, "records", nullable=True),
    number("global_horizontal_irradiance_w_m2", "Mean over the interval", 0, 1600, "cloud edges", nullable=True),
    number("direct_normal_irradiance_w_m2", "Mean over the interval", 0, 1400, "solar constant", nullable=True),
    number("diffuse_horizontal_irradiance_w_m2", "Mean over the interval", 0, 1000, "bright overcast", nullable=True),
)
WEATHER_QUANTITIES = tuple(column.name for column in _QUANTITIES)

WEATHER_OBSERVED = Table(
    schema="weather",
    name="observed",
    description="Observed or re-analysed weather per site and hour, on the UTC clock.",
    columns=(
        text("site_id", "Site"),
        time("starts_at_utc", "Start of the hour"),
        *_QUANTITIES,
        text("source", "Who says so"),
        time("available_at_utc", "When it could have been known"),
    ),
    key=("site_id", "starts_at_utc"),
    window_column="starts_at_utc",
    partitioned_by=("year(starts_at_utc)",),
    sorted_by=("site_id", "starts_at_utc"),
)

WEATHER_FORECAST = Table(
    schema="weather",
    name="forecast",
    description="Weather forecasts with the time of their issue: what was believed, when.",
    columns=(
        text("site_id", "Site"),
        time("issued_at_utc", "When the model run was available to us"),
        time("starts_at_utc", "Start of the hour that is forecast"),
        *_QUANTITIES,
        text("source", "Provider and model"),
        time("available_at_utc", "When it could have been known"),
    ),
    key=("site_id", "issued_at_utc", "starts_at_utc", "source"),
    window_column="issued_at_utc",
    partitioned_by=("year(issued_at_utc)", "month(issued_at_utc)"),
    sorted_by=("site_id", "issued_at_utc", "starts_at_utc"),
)

_SUBJECTS = (WEATHER_OBSERVED.name, WEATHER_FORECAST.name)

WEATHER_QUARANTINE = Table(
    schema="weather",
    name="quarantine",
    description="Rows and single values of weather that were refused, each with the reason and the row as it came.",
    columns=(
        text("source", "Declared source"),
        text("batch_id", "File by name and content, or the service and site that answered"),
        text("subject", "Table of weather that the row was for", allowed=_SUBJECTS),
        integer("line_number", "Line or row in the batch, from 1", 0, "a position"),
        text("quantity", "The value that was refused while its row was kept; null: the row was refused", nullable=True),
        time("at_utc", "Hour of an observation, issue of a forecast, where that could be read", nullable=True),
        text("reason", "Why, as snake_case name"),
        text("payload", "The row as it came"),
        time("available_at_utc", "When it came"),
    ),
    key=("source", "batch_id", "subject", "line_number", "quantity"),
    window_column="at_utc",
)

WEATHER_LANDINGS = Table(
    schema="weather",
    name="landings",
    description="The account of every batch of weather: rows in = stored + duplicate + quarantined.",
    columns=(
        text("source", "Declared source"),
        text("batch_id", "File by name and content, or the service and site that answered"),
        text("subject", "Table of weather that the rows were for", allowed=_SUBJECTS),
        time("at_utc", "UTC day of observations, issue of forecasts; null: no readable time", nullable=True),
        integer("rows_in", "Rows that came in", 0, "a count"),
        integer("stored", "Rows that an hour in the table is made of", 0, "a count"),
        integer("duplicate", "Exact repeats, and rows of hours that a richer row describes", 0, "a count"),
        integer("quarantined", "Rows in weather.quarantine", 0, "a count"),
        integer("values_refused", "Single values in weather.quarantine whose rows were kept", 0, "a count"),
        integer("hours", "Rows of the table that the stored rows became", 0, "a count"),
        time("landed_at_utc", "When the landing ran"),
    ),
    key=("source", "batch_id", "subject", "at_utc"),
    window_column="at_utc",
)

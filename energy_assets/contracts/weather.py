"""Contracts of weather: what was observed, and what was forecast when."""

from energy_assets.contracts.table import Column, Table, number, text, time

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

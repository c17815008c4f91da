"""Every table of the lake, and nothing else: the contract is the authority for columns, key, units and range.

When data breaks a contract, mend the code or change the meaning on purpose; a contract is never widened to get green.
"""

from energy_assets.contracts.anomalies import ANOMALIES_DAYS, ANOMALIES_EVENTS, ANOMALIES_FEEDBACK, ANOMALIES_FLAGS
from energy_assets.contracts.features import FEATURES_LOAD
from energy_assets.contracts.forecasts import FORECASTS_LOAD, FORECASTS_SKILL, LEVELS, QUANTILE_COLUMNS
from energy_assets.contracts.ledger import LEDGER_CHECKPOINTS, LEDGER_ENTRIES
from energy_assets.contracts.marts import (
    MARTS_DAILY_ENERGY,
    MARTS_OUTLOOK,
    MARTS_USAGE,
    MARTS_USAGE_BY_CLOCK,
    MARTS_USAGE_DAILY,
    MARTS_USAGE_HOURLY,
    MARTS_USAGE_MONTHLY,
    MARTS_USAGE_WEEKLY,
)
from energy_assets.contracts.metering import METERS, PREMISES, SITES
from energy_assets.contracts.prices import PRICES_CURVES, PRICES_DAYS
from energy_assets.contracts.profiles import (
    PROFILES_CENTROIDS,
    PROFILES_CLUSTERS,
    PROFILES_METERS,
    PROFILES_SHAPES,
    PROFILES_TRAITS,
)
from energy_assets.contracts.readings import (
    READINGS_INTERVAL,
    READINGS_LANDINGS,
    READINGS_QUARANTINE,
    READINGS_RAW,
    READINGS_SEGMENTS,
)
from energy_assets.contracts.settlement import (
    SETTLEMENT_DAYS,
    SETTLEMENT_POOLS,
    SETTLEMENT_STATEMENTS,
    SETTLEMENT_TO_DATE,
)
from energy_assets.contracts.table import UTC_TIME, Column, Table, Window
from energy_assets.contracts.weather import (
    WEATHER_FORECAST,
    WEATHER_LANDINGS,
    WEATHER_OBSERVED,
    WEATHER_QUANTITIES,
    WEATHER_QUARANTINE,
)

TABLES: tuple[Table, ...] = (
    SITES,
    PREMISES,
    METERS,
    READINGS_RAW,
    READINGS_QUARANTINE,
    READINGS_LANDINGS,
    READINGS_SEGMENTS,
    READINGS_INTERVAL,
    WEATHER_OBSERVED,
    WEATHER_FORECAST,
    WEATHER_QUARANTINE,
    WEATHER_LANDINGS,
    FEATURES_LOAD,
    FORECASTS_LOAD,
    FORECASTS_SKILL,
    ANOMALIES_FLAGS,
    ANOMALIES_DAYS,
    ANOMALIES_EVENTS,
    ANOMALIES_FEEDBACK,
    PRICES_CURVES,
    PRICES_DAYS,
    SETTLEMENT_DAYS,
    SETTLEMENT_POOLS,
    SETTLEMENT_STATEMENTS,
    SETTLEMENT_TO_DATE,
    LEDGER_ENTRIES,
    LEDGER_CHECKPOINTS,
    PROFILES_SHAPES,
    PROFILES_TRAITS,
    PROFILES_CLUSTERS,
    PROFILES_CENTROIDS,
    PROFILES_METERS,
    MARTS_DAILY_ENERGY,
    MARTS_OUTLOOK,
    *MARTS_USAGE,
)

__all__ = [
    "ANOMALIES_DAYS",
    "ANOMALIES_EVENTS",
    "ANOMALIES_FEEDBACK",
    "ANOMALIES_FLAGS",
    "FEATURES_LOAD",
    "FORECASTS_LOAD",
    "FORECASTS_SKILL",
    "LEDGER_CHECKPOINTS",
    "LEDGER_ENTRIES",
    "LEVELS",
    "MARTS_DAILY_ENERGY",
    "MARTS_OUTLOOK",
    "MARTS_USAGE",
    "MARTS_USAGE_BY_CLOCK",
    "MARTS_USAGE_DAILY",
    "MARTS_USAGE_HOURLY",
    "MARTS_USAGE_MONTHLY",
    "MARTS_USAGE_WEEKLY",
    "METERS",
    "PREMISES",
    "PRICES_CURVES",
    "PRICES_DAYS",
    "PROFILES_CENTROIDS",
    "PROFILES_CLUSTERS",
    "PROFILES_METERS",
    "PROFILES_SHAPES",
    "PROFILES_TRAITS",
    "QUANTILE_COLUMNS",
    "READINGS_INTERVAL",
    "READINGS_LANDINGS",
    "READINGS_QUARANTINE",
    "READINGS_RAW",
    "READINGS_SEGMENTS",
    "SETTLEMENT_DAYS",
    "SETTLEMENT_POOLS",
    "SETTLEMENT_STATEMENTS",
    "SETTLEMENT_TO_DATE",
    "SITES",
    "TABLES",
    "UTC_TIME",
    "WEATHER_FORECAST",
    "WEATHER_LANDINGS",
    "WEATHER_OBSERVED",
    "WEATHER_QUANTITIES",
    "WEATHER_QUARANTINE",
    "Column",
    "Table",
    "Window",
]

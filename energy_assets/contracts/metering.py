"""Contracts of the metering registry: where meters are, what they measure, and how."""

from energy_assets.contracts.table import Table, flag, integer, number, text, time

COMMODITIES = ("electricity", "chilled_water", "steam", "hot_water", "gas", "water")
DIRECTIONS = ("consumption", "production", "grid_import", "grid_export")
MEASURES = ("interval_energy", "register", "power")
UNITS = ("W", "kW", "MW", "Ws", "Wh", "kWh", "MWh", "kBtu", "m3", "l")

SITES = Table(
    schema="metering",
    name="sites",
    description="A place with one weather and one clock: a campus, a town, a community.",
    columns=(
        text("site_id", "Identifier of the site"),
        text("name", "Name for people"),
        text("timezone", "IANA time zone"),
        number("latitude", "Degrees north", -90, 90, "poles", nullable=True),
        number("longitude", "Degrees east", -180, 180, "date line", nullable=True),
        text("country_code", "ISO 3166-1 alpha-2, for holidays", nullable=True),
        text("subdivision_code", "ISO 3166-2 part after the dash, for regional holidays", nullable=True),
        number("limit_kw", "Power that its connection to the grid may carry, either way", 0, nullable=True),
        text("source", "Source that declared the row"),
    ),
    key=("site_id",),
)

PREMISES = Table(
    schema="metering",
    name="premises",
    description="A building or dwelling behind one or more meters.",
    columns=(
        text("premise_id", "Identifier of the premise"),
        text("site_id", "Site it stands on"),
        text("primary_use", "Use in the ASHRAE vocabulary, or Residential", nullable=True),
        number("floor_area_m2", "Gross floor area", 0, 1e7, "largest buildings", nullable=True),
        integer("year_built", "Year of construction", 1000, "oldest buildings in use", nullable=True),
        integer("floor_count", "Storeys", 0, "a count", nullable=True),
        integer("occupants", "People who live or work there", 0, "a count", nullable=True),
        text("heating_type", "electric, natural_gas, heat_pump, district_heating, biomass, oil", nullable=True),
        text("hot_water_type", "As heating_type", nullable=True),
        flag("has_pv", "Has photovoltaics", nullable=True),
        number("pv_tilt_deg", "Slope of its photovoltaics, 0 flat", 0, 90, "upright", nullable=True),
        number("pv_azimuth_deg", "Where they face, from north by east", 0, 360, "a circle", nullable=True),
        flag("has_battery", "Has a battery", nullable=True),
        flag("has_ev_charger", "Has a charger for electric vehicles", nullable=True),
        text("consumer_type", "individual or company", nullable=True),
        number("annual_kwh_hint", "Declared yearly electricity", 0, 1e9, "largest sites", nullable=True),
        number("limit_kw", "Power that its connection to the grid may carry, either way", 0, nullable=True),
        text("source", "Source that declared the row"),
    ),
    key=("premise_id",),
)

METERS = Table(
    schema="metering",
    name="meters",
    description="A measuring point: commodity, direction, measure, unit and cadence are declared, never guessed.",
    columns=(
        text("meter_id", "Identifier of the meter"),
        text("premise_id", "Premise behind it"),
        text("site_id", "Site of the premise, repeated for the many reads that need only its clock"),
        text("commodity", "What flows", allowed=COMMODITIES),
        text("direction", "Which way", allowed=DIRECTIONS),
        text("measure", "What a raw value means", allowed=MEASURES),
        text("unit", "Unit of a raw value", allowed=UNITS),
        integer("interval_minutes", "Cadence of its intervals", 1, "the finest cadence we keep"),
        number("kwh_per_m3", "Calorific value for gas metered in volume", 0, 20, "rich natural gas", nullable=True),
        number("capacity_kw", "Connection or installed power; above it a reading is impossible", 0, nullable=True),
        time("valid_from_utc", "First instant of service", nullable=True),
        time("valid_to_utc", "End of service", nullable=True),
        text("source", "Source that declared the row"),
    ),
    key=("meter_id",),
)

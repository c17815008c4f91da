"""What a mapping and its registry files say of the meters of a table: ids, declarations, registry frames."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Facts
from pathlib import Path

import polars as pl

from energy_assets.contracts import METERS, PREMISES, SITES, Table
from energy_assets.errors import ConfigError
from energy_assets.metering.registry import read_declared
from energy_assets.metering.units import declaration_faults
from energy_assets.readings.mapping import Mapping, ValueColumns
from energy_assets.readings.source import Registry

_KINDS: dict[str, object] = {"commodity": "electricity", "direction": "consumption", "measure": "interval_energy"}
_DECLARED = ("unit", "measure", "interval_minutes")
_FIELD = re.compile(r"\{([^{}]+)\}")


def matched_columns(columns: Sequence[str], values: ValueColumns) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the columns that a value declaration means, with the groups of its pattern."""
    if values.column is not None:
        yield values.column, ()
        return
    pattern = re.compile(values.pattern or "")
    for name in columns:
        found = pattern.fullmatch(name)
        if found and name != "line_number":
            yield name, tuple(group or "" for group in found.groups())


def columns_of(text: str) -> list[str]:
    """Return the columns that a meter id template takes from the row."""
    words = _FIELD.findall(text)
    return [word for word in words if word not in ("source", "name") and not word.isdigit()]


def template(text: str, *, source: str, name: str, groups: tuple[str, ...]) -> pl.Expr:
    """Return the meter id of a row by a template of `{source}`, `{name}`, `{1}` and `{column}` fields."""
    pieces: list[pl.Expr] = []
    position = 0
    for field in _FIELD.finditer(text):
        pieces.append(pl.lit(text[position : field.start()]))
        word = field.group(1)
        if word == "source":
            pieces.append(pl.lit(source))
        elif word == "name":
            pieces.append(pl.lit(name))
        elif word.isdigit() and 0 < int(word) <= len(groups):
            pieces.append(pl.lit(groups[int(word) - 1]))
        else:
            pieces.append(pl.col(word).cast(pl.String))
        position = field.end()
    return pl.concat_str([*pieces, pl.lit(text[position:])])


def declarations(cells: pl.DataFrame, *, mapping: Mapping) -> dict[str, dict[str, object]]:
    """Return what the mapping says of every meter in `cells` (meter_id, values_index), by meter id.

    Raises:
        ConfigError: the mapping leaves open what a meter measures.
    """
    met = cells.select("meter_id", "values_index").drop_nulls().unique("meter_id", keep="first").sort("meter_id")
    return {meter_id: _declaration(meter_id, mapping, mapping.values[index]) for meter_id, index in met.iter_rows()}


def as_frame(declared: dict[str, dict[str, object]]) -> pl.DataFrame:
    """Return meter_id, unit, measure and interval_minutes of declared meters."""
    kinds = {"meter_id": pl.String, "unit": pl.String, "measure": pl.String, "interval_minutes": pl.Int64}
    rows = [{"meter_id": meter_id, **{name: facts[name] for name in _DECLARED}} for meter_id, facts in declared.items()]
    return pl.DataFrame(rows, schema=kinds)


def made_registry(
    seen: pl.DataFrame, *, declared: dict[str, dict[str, object]], mapping: Mapping, source: str
) -> Registry:
    """Return sites, premises and meters made from the meters that reported and what the mapping says of them.

    `seen` has meter_id and valid_from_utc.
    """
    site_id = mapping.site.id or f"{source}.main"
    rows = []
    for meter_id, valid_from in seen.sort("meter_id").iter_rows():
        facts = declared[meter_id]
        premise = facts.get("premise") or str(meter_id).rsplit(".", 1)[0]
        rows.append(
            {
                **{
                    name: facts.get(name)
                    for name in (*_DECLARED, "commodity", "direction", "kwh_per_m3", "capacity_kw")
                },
                "meter_id": meter_id,
                "premise_id": premise,
                "site_id": facts.get("site") or site_id,
                "valid_from_utc": valid_from,
                "source": source,
            }
        )
    meters = METERS.conform(pl.DataFrame(rows, infer_schema_length=None)) if rows else METERS.empty()
    return with_places(meters, mapping=mapping, source=source)


def with_places(meters: pl.DataFrame, *, mapping: Mapping, source: str, declared: Registry | None = None) -> Registry:
    """Return the registry of `meters`: premises and sites as `declared`, or made from the meters where none are."""
    premises, sites = PREMISES.empty(), SITES.empty()
    if declared is not None:
        premises, sites = declared.premises, declared.sites
    if premises.is_empty():
        made = meters.select("premise_id", "site_id").unique("premise_id", keep="first", maintain_order=True)
        premises = PREMISES.conform(made.with_columns(source=pl.lit(source)))
    if sites.is_empty():
        sites = _made_sites(meters["site_id"].unique().sort(), mapping=mapping, source=source)
    return Registry(sites=sites, premises=premises, meters=meters)


def _made_sites(site_ids: pl.Series, *, mapping: Mapping, source: str) -> pl.DataFrame:
    site = mapping.site
    facts = site.model_dump(include={"latitude", "longitude", "country_code", "subdivision_code", "limit_kw"})
    zone = site.timezone or ("UTC" if mapping.time.offset_minutes is not None else mapping.time.zone)
    rows = [
        {"site_id": site_id, "name": site.name or source, "timezone": zone, "source": source} | facts
        for site_id in site_ids
    ]
    schema = {name: SITES.column(name).dtype for name in SITES.column_names}
    return SITES.conform(pl.DataFrame(rows, schema=schema))


def read_registry(mapping: Mapping, *, source: str) -> Registry | None:
    """Return the registry of the mapping's files, or None where it names none.

    What a file leaves open is filled from [meters] and [site].

    Raises:
        SourceError: a file is missing, or has faulty rows.
    """
    files = mapping.registry
    if files.sites is None and files.premises is None and files.meters is None:
        return None
    site_id = {"site_id": mapping.site.id or f"{source}.main"}
    meters = _KINDS | site_id | mapping.meters.model_dump(exclude={"premise", "site"}, exclude_none=True)
    return Registry(
        sites=_declared_rows(files.sites, SITES, source=source, defaults={}),
        premises=_declared_rows(files.premises, PREMISES, source=source, defaults=site_id),
        meters=_declared_rows(files.meters, METERS, source=source, defaults=meters),
    )


def _declared_rows(path: Path | None, table: Table, *, source: str, defaults: Facts[str, object]) -> pl.DataFrame:
    return table.empty() if path is None else read_declared(path, table, source=source, defaults=defaults)


def _declaration(meter_id: str, mapping: Mapping, values: ValueColumns) -> dict[str, object]:
    declared = _KINDS | mapping.declared(meter_id, values).stated()
    missing = [name for name in _DECLARED if declared.get(name) is None]
    if missing:
        raise ConfigError(
            f"The mapping does not say the {', '.join(missing)} of meter {meter_id}; "
            f"add it under [meters] or [[overrides]]."
        )
    faults = declaration_faults(**{name: str(declared[name]) for name in ("commodity", "measure", "unit")})
    if faults:
        raise ConfigError(f"The mapping declares meter {meter_id} as what cannot be: {'; '.join(faults)}. Mend it.")
    return declared

-- The zone of a meter is its site; what was published last for a slot counts.
SELECT zone_id AS site_id, starts_at_utc, price_units / 100000.0 AS price_per_kwh, greenhouse_gas_kg_per_kwh
FROM prices.curves
WHERE starts_at_utc >= $first AND starts_at_utc < $last
QUALIFY row_number() OVER (PARTITION BY zone_id, starts_at_utc ORDER BY delivery_date DESC, revision DESC) = 1

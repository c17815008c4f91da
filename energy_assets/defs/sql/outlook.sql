-- The zone of a node is its site; the portfolio has none, and so no price.
SELECT load.node_id, load.node_kind, load.site_id,
       DATE '1970-01-01' + (epoch_us(load.issued_at_utc + $lead) // 86_400_000_000)::INTEGER AS delivery_date,
       load.issued_at_utc, load.starts_at_utc, load.q10 AS q10_kwh, load.q50 AS q50_kwh, load.q90 AS q90_kwh,
       load.method, curve.price_units / 100000.0 AS price_per_kwh, curve.currency_code
FROM forecasts.load AS load
ASOF LEFT JOIN (
    SELECT zone_id, starts_at_utc, interval_minutes, price_units, currency_code
    FROM prices.curves
    QUALIFY row_number() OVER (PARTITION BY zone_id, starts_at_utc ORDER BY delivery_date DESC, revision DESC) = 1
) AS curve ON curve.zone_id = load.site_id AND load.starts_at_utc >= curve.starts_at_utc
WHERE load.issued_at_utc >= $starts AND load.issued_at_utc < $ends

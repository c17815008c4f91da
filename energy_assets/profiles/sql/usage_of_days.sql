-- The days of whole weeks or months.
SELECT node_id, node_kind, site_id, commodity, direction, date_trunc($period, local_date)::DATE AS starts_on,
       sum(energy_kwh) AS energy_kwh, sum(known_hours) AS known_hours, sum(expected_hours) AS expected_hours,
       CASE WHEN count(DISTINCT currency_code) = 1 THEN sum(cost) END AS cost,
       CASE WHEN count(DISTINCT currency_code) = 1 THEN sum(flat_cost) END AS flat_cost,
       sum(published_kwh) AS published_kwh,
       CASE WHEN count(DISTINCT currency_code) = 1 THEN any_value(currency_code) END AS currency_code
FROM marts.usage_daily
WHERE local_date BETWEEN $first AND $last AND list_contains($kinds::VARCHAR[], node_kind)
GROUP BY ALL

-- Whole months by hour of the day, from their hours, and by weekday, from their days.
WITH parts AS (
    SELECT node_id, node_kind, site_id, commodity, direction, local_date,
           'hour_of_day' AS dimension, local_hour AS position,
           energy_kwh, known_hours, expected_hours, cost, flat_cost, published_kwh, currency_code
    FROM marts.usage_hourly
    WHERE starts_at_utc >= $first::DATE::TIMESTAMPTZ - INTERVAL 1 DAY
      AND starts_at_utc < $last::DATE::TIMESTAMPTZ + INTERVAL 2 DAY
    UNION ALL
    SELECT node_id, node_kind, site_id, commodity, direction, local_date,
           'weekday' AS dimension, isodow(local_date) AS position,
           energy_kwh, known_hours, expected_hours, cost, flat_cost, published_kwh, currency_code
    FROM marts.usage_daily
)
SELECT node_id, node_kind, site_id, commodity, direction, date_trunc('month', local_date)::DATE AS month_starts_on,
       dimension, position,
       sum(energy_kwh) AS energy_kwh, sum(known_hours) AS known_hours, sum(expected_hours) AS expected_hours,
       CASE WHEN count(DISTINCT currency_code) = 1 THEN sum(cost) END AS cost,
       CASE WHEN count(DISTINCT currency_code) = 1 THEN sum(flat_cost) END AS flat_cost,
       sum(published_kwh) AS published_kwh,
       CASE WHEN count(DISTINCT currency_code) = 1 THEN any_value(currency_code) END AS currency_code
FROM parts
WHERE local_date BETWEEN $first AND $last AND list_contains($kinds::VARCHAR[], node_kind)
GROUP BY ALL

SELECT
    split_part(forecast.model_version, '/', 1) AS model,
    sum(abs(forecast.q50 - reading.energy_kwh)) AS error_kwh,
    sum(abs(reading.energy_kwh)) AS actual_kwh,
    count(*) AS slots
FROM forecasts.load AS forecast
JOIN readings.interval AS reading
    ON reading.meter_id = forecast.node_id AND reading.starts_at_utc = forecast.starts_at_utc
WHERE forecast.node_kind = 'meter'
    AND forecast.model_version IS NOT NULL
    AND forecast.issued_at_utc >= $starts_at_utc AND forecast.issued_at_utc < $ends_at_utc
    AND reading.starts_at_utc < $ends_at_utc
    AND reading.energy_kwh IS NOT NULL
GROUP BY model

SELECT meters.source, max(interval.starts_at_utc) AS newest
FROM readings.interval AS interval
JOIN metering.meters AS meters USING (meter_id)
WHERE interval.energy_kwh IS NOT NULL
GROUP BY meters.source
ORDER BY meters.source

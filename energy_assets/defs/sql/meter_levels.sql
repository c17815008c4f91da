SELECT
    'load-' || replace(meter.commodity, '_', '-') || '-' || meter.interval_minutes || 'min' AS model,
    reading.meter_id,
    avg(abs(reading.energy_kwh)) FILTER (WHERE reading.starts_at_utc >= $recent_at_utc) AS recent_kwh,
    avg(abs(reading.energy_kwh)) FILTER (WHERE reading.starts_at_utc < $recent_at_utc) AS earlier_kwh
FROM readings.interval AS reading
JOIN metering.meters AS meter USING (meter_id)
WHERE reading.starts_at_utc >= $starts_at_utc AND reading.starts_at_utc < $ends_at_utc
    AND reading.energy_kwh IS NOT NULL
GROUP BY ALL
HAVING recent_kwh IS NOT NULL AND earlier_kwh IS NOT NULL

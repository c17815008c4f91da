-- The mean hour of a site's meters, by commodity: what a site takes, to be held against its weather.
SELECT meters.site_id, meters.commodity,
       make_timestamptz(epoch_us(interval.starts_at_utc) // 3_600_000_000 * 3_600_000_000) AS starts_at_utc,
       avg(interval.energy_kwh) AS energy_kwh
FROM readings.interval AS interval
JOIN metering.meters AS meters USING (meter_id)
WHERE interval.starts_at_utc >= $starts AND interval.starts_at_utc < $ends
  AND interval.energy_kwh IS NOT NULL AND meters.direction = 'consumption' AND meters.interval_minutes <= 60
GROUP BY ALL
ORDER BY ALL

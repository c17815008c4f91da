-- Energy and hours per meter, season, kind of day and local hour, over the days that are good.
SELECT readings.meter_id, good.season, good.day_kind,
       (epoch_us(readings.starts_at_utc) + clock.offset_us) % 86_400_000_000 // 3_600_000_000 AS local_hour,
       sum(readings.energy_kwh) AS energy_kwh, sum(readings.interval_minutes)::DOUBLE / 60 AS known_hours
FROM readings.interval AS readings
JOIN profile_clocks AS clock
  ON clock.meter_id = readings.meter_id
 AND epoch_us(readings.starts_at_utc) >= clock.from_us AND epoch_us(readings.starts_at_utc) < clock.to_us
JOIN profile_good_days AS good
  ON good.meter_id = readings.meter_id
 AND good.local_day = (epoch_us(readings.starts_at_utc) + clock.offset_us) // 86_400_000_000
WHERE readings.starts_at_utc >= $starts AND readings.starts_at_utc < $ends
  AND readings.quality = 'measured' AND readings.energy_kwh IS NOT NULL AND readings.interval_minutes <= 60
GROUP BY ALL

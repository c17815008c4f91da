-- Facts of every local day of every meter: energy, extremes and how much of it was measured. Days since 1970.
SELECT readings.meter_id, (epoch_us(readings.starts_at_utc) + clock.offset_us) // 86_400_000_000 AS local_day,
       sum(readings.energy_kwh) AS energy_kwh,
       max(readings.energy_kwh * 60 / readings.interval_minutes) AS most_kw,
       min(readings.energy_kwh * 60 / readings.interval_minutes) AS least_kw,
       sum(readings.interval_minutes)::DOUBLE AS known_minutes
FROM readings.interval AS readings
JOIN profile_clocks AS clock
  ON clock.meter_id = readings.meter_id
 AND epoch_us(readings.starts_at_utc) >= clock.from_us AND epoch_us(readings.starts_at_utc) < clock.to_us
WHERE readings.starts_at_utc >= $starts AND readings.starts_at_utc < $ends
  AND readings.quality = 'measured' AND readings.energy_kwh IS NOT NULL AND readings.interval_minutes <= 60
GROUP BY ALL

-- Energy and hours per meter, season, kind of day and local hour, over the days that are good.
-- The hours stand before the join: joined at once, the plan looks at every good day of a meter for each reading.
WITH placed AS MATERIALIZED (
    SELECT readings.meter_id, (epoch_us(readings.starts_at_utc) + clock.offset_us) // 86_400_000_000 AS local_day,
           (epoch_us(readings.starts_at_utc) + clock.offset_us) % 86_400_000_000 // 3_600_000_000 AS local_hour,
           readings.energy_kwh, readings.interval_minutes
    FROM readings.interval AS readings
    JOIN profile_clocks AS clock
      ON clock.meter_id = readings.meter_id
     AND epoch_us(readings.starts_at_utc) >= clock.from_us AND epoch_us(readings.starts_at_utc) < clock.to_us
    WHERE readings.starts_at_utc >= $starts AND readings.starts_at_utc < $ends
      AND readings.quality = 'measured' AND readings.energy_kwh IS NOT NULL AND readings.interval_minutes <= 60
)
SELECT meter_id, good.season, good.day_kind, local_hour,
       sum(placed.energy_kwh) AS energy_kwh, sum(interval_minutes)::DOUBLE / 60 AS known_hours
FROM placed JOIN profile_good_days AS good USING (meter_id, local_day)
GROUP BY ALL

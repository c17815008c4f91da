-- Readings of some meters in a window, narrow: times in whole minutes since 1970, and the row that a meter belongs to.
SELECT meters.place, (epoch_us(starts_at_utc) // 60_000_000)::INTEGER AS start_minute,
       interval_minutes::SMALLINT AS interval_minutes, energy_kwh,
       ((epoch_us(available_at_utc) + 59_999_999) // 60_000_000)::INTEGER AS known_minute
FROM readings.interval
JOIN (SELECT unnest($meter_ids::VARCHAR[]) AS meter_id, unnest($places::INTEGER[]) AS place) AS meters USING (meter_id)
WHERE starts_at_utc >= $starts AND starts_at_utc < $ends AND meter_id BETWEEN $first_meter AND $last_meter

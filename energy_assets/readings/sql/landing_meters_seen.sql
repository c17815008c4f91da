-- The meters that reported, with their first interval.
SELECT meters.meter_key, meters.meter_id, meters.unit, make_timestamptz(epoch_us(min(days.first_at))) AS valid_from_utc
FROM temp.staged_days AS days
JOIN temp.staged_meters AS meters USING (meter_key)
GROUP BY meters.meter_key, meters.meter_id, meters.unit
ORDER BY meters.meter_key

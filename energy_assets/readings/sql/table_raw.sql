SELECT meter_id, starts_at_utc, $source AS source, hash(value, unit, measure) AS payload_hash, value, unit, measure,
       starts_at_utc + CASE WHEN measure = 'register' THEN INTERVAL 0 MINUTE ELSE to_minutes(interval_minutes::INT) END
           + $delay AS available_at_utc,
       batch_id
FROM temp.staged_window
WHERE reason IS NULL AND NOT is_repeat

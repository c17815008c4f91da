-- readings.raw of the staged messages: known when they arrived.
SELECT meter_id, starts_at_utc, $source AS source, hash(value, unit, measure) AS payload_hash, value, unit, measure,
       available_at_utc + $delay AS available_at_utc, batch_id
FROM temp.staged_window
WHERE reason IS NULL AND NOT is_repeat

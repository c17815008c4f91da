INSERT INTO temp.earlier_readings
SELECT meter_id, starts_at_utc, payload_hash
FROM readings.raw
WHERE source = $source AND starts_at_utc <= $last AND NOT list_contains($replaced::VARCHAR[], batch_id)
  AND meter_id IN (SELECT meter_id FROM temp.staged_rows WHERE is_undated AND meter_id IS NOT NULL)

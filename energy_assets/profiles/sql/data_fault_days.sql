-- UTC days of a meter on which a rule found the data at fault.
SELECT DISTINCT meter_id, epoch_us(starts_at_utc) // 86_400_000_000 AS utc_day
FROM anomalies.flags
WHERE starts_at_utc >= $starts AND starts_at_utc < $ends AND list_contains($rules::VARCHAR[], rule)

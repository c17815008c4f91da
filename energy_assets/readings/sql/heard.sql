-- The meters that said something of [$starts, $ends) until its end.
SELECT DISTINCT meter_id
FROM readings.raw
WHERE starts_at_utc >= $starts AND starts_at_utc < $ends AND available_at_utc <= $ends
ORDER BY meter_id

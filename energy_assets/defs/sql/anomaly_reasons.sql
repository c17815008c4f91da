SELECT DISTINCT reason
FROM readings.interval
WHERE starts_at_utc >= $starts AND starts_at_utc < $ends AND reason IS NOT NULL

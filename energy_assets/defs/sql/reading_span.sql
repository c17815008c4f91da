SELECT min(starts_at_utc) AS first_at_utc, max(starts_at_utc) AS last_at_utc
FROM readings.interval
WHERE energy_kwh IS NOT NULL

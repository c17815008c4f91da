SELECT min(starts_at_utc) AS first, max(starts_at_utc) AS last FROM readings.interval

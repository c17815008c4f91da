SELECT max(starts_at_utc) AS newest FROM readings.interval

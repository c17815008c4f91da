SELECT source, max(starts_at_utc) AS newest FROM readings.raw GROUP BY source

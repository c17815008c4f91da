SELECT DISTINCT model_version
FROM forecasts.load
WHERE issued_at_utc >= $since AND model_version IS NOT NULL
ORDER BY model_version

SELECT source, reason, count(*) AS rows, max(available_at_utc) AS last_at_utc
FROM readings.quarantine
GROUP BY source, reason
ORDER BY rows DESC
LIMIT 20

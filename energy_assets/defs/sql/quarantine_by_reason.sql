SELECT source, reason, count(*) AS refused_rows, any_value(payload) AS example
FROM readings.quarantine
GROUP BY source, reason
ORDER BY refused_rows DESC, source, reason

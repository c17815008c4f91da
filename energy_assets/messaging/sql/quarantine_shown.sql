-- Refused rows by source and reason, with examples as they came; of MQTT messages topic and payload.
SELECT source, reason, count(*) AS rows, max(available_at_utc) AS newest,
       list(DISTINCT coalesce(topic || '  ' || message, payload))[1:$examples] AS examples
FROM (
    SELECT *, CASE WHEN json_valid(payload) THEN json_extract_string(payload, '$.topic') END AS topic,
           CASE WHEN json_valid(payload) THEN coalesce(json_extract_string(payload, '$.payload'), '') END AS message
    FROM readings.quarantine
    WHERE ($source IS NULL OR source = $source) AND ($reason IS NULL OR reason = $reason)
)
GROUP BY source, reason
ORDER BY source, rows DESC, reason

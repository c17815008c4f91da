-- Refused rows by source and reason, with the first examples as they came; of MQTT messages topic and payload.
SELECT source, reason, sum(rows)::BIGINT AS rows, max(newest) AS newest,
       list(example ORDER BY came, example)[1:$examples] AS examples
FROM (
    SELECT source, reason, count(*) AS rows, max(available_at_utc) AS newest,
           min((available_at_utc, batch_id, line_number)) AS came,
           coalesce(topic || '  ' || message, CASE WHEN is_message THEN message END, payload) AS example
    FROM (
        SELECT *, CASE WHEN json_valid(payload) THEN json_extract_string(payload, '$.topic') END AS topic,
               CASE WHEN json_valid(payload) THEN coalesce(json_extract_string(payload, '$.payload'), '') END AS message,
               coalesce(json_valid(payload) AND json_exists(payload, '$.arrived_at_us'), false) AS is_message
        FROM readings.quarantine
        WHERE ($source IS NULL OR source = $source) AND ($reason IS NULL OR reason = $reason)
    )
    GROUP BY source, reason, example
)
GROUP BY source, reason
ORDER BY source, rows DESC, reason

-- What the rules of a group find in payloads that hold one record of single values. Each payload is parsed once.
WITH parsed AS (
    SELECT messages.*, topics.topic_number, json_valid(payload) AS is_json,
           CASE WHEN json_valid(payload) THEN json_extract_string(payload, $paths::VARCHAR[]) END AS fields
    FROM temp.incoming_messages AS messages
    JOIN temp.known_topics AS topics ON topics.topic = messages.topic
    WHERE topics.group_number = $group AND messages.encoding IS NULL AND messages.fault IS NULL
),
found AS (
    SELECT batch, line_number, at_utc, arrived_at_utc, retained, is_json, topics.rule, topics.meter, topics.is_first,
           NULL::BIGINT AS position, NULL::VARCHAR AS fault,
           CASE WHEN is_json THEN fields[value_at] WHEN is_text THEN payload END AS value_text,
           fields[time_at] AS time_text, fields[id_at] AS id, fields[where_at] AS where_text
    FROM parsed
    JOIN temp.topic_rules AS topics ON topics.topic_number = parsed.topic_number
    WHERE topics.group_number = $group
)
SELECT * FROM found
WHERE NOT starts_with(coalesce(value_text, ''), '[') OR NOT is_json

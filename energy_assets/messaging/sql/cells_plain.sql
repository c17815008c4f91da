-- What the rules of a group find in payloads that hold one record of single values. Each payload is parsed once.
WITH parsed AS (
    SELECT *, TRY(json_extract_string(payload, $paths::VARCHAR[])) AS fields
    FROM temp.routed_messages AS messages
    WHERE topic_number IN (SELECT topic_number FROM temp.known_topics WHERE group_number = $group)
),
found AS (
    SELECT batch, line_number, at_utc, arrived_at_utc, retained, fields IS NOT NULL AS is_json, topics.rule,
           topics.meter, topics.is_first, is_spare,
           NULL::BIGINT AS position, NULL::VARCHAR AS fault,
           CASE WHEN fields IS NOT NULL THEN fields[value_at] WHEN is_text THEN payload END AS value_text,
           fields[time_at] AS time_text, fields[id_at] AS id, fields[where_at] AS where_text
    FROM parsed
    JOIN temp.topic_rules AS topics ON topics.topic_number = parsed.topic_number
    WHERE topics.group_number = $group
)
SELECT * EXCLUDE (is_spare)
FROM found
WHERE (NOT starts_with(coalesce(value_text, ''), '[') OR NOT is_json) AND NOT (is_spare AND is_json AND value_text IS NULL)

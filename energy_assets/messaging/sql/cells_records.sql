-- What the rules of a group find in payloads that hold an array of records.
WITH documents AS (
    SELECT messages.* EXCLUDE (payload), json_valid(payload) AS is_json,
           CASE WHEN json_valid(payload) AND json_type(payload, $each) = 'ARRAY'
                THEN json_extract(payload, $each)::JSON[] END AS records
    FROM temp.routed_messages AS messages
    WHERE topic_number IN (SELECT topic_number FROM temp.known_topics WHERE group_number = $group)
),
listed AS (
    SELECT *, unnest(CASE WHEN coalesce(len(records), 0) = 0 THEN [0] ELSE range(1, len(records) + 1) END) AS position
    FROM documents
),
parsed AS (
    SELECT *, CASE WHEN position > 0 THEN json_extract_string(records[position], $paths::VARCHAR[]) END AS fields
    FROM listed
)
SELECT batch, line_number, at_utc, arrived_at_utc, retained, is_json, topics.rule, topics.meter, topics.is_first, position,
       CASE WHEN is_json AND records IS NULL THEN 'not_a_list' WHEN is_json AND position = 0 THEN 'empty_list' END
           AS fault,
       fields[value_at] AS value_text, fields[time_at] AS time_text, fields[id_at] AS id,
       fields[where_at] AS where_text
FROM parsed
JOIN temp.topic_rules AS topics ON topics.topic_number = parsed.topic_number
WHERE topics.group_number = $group

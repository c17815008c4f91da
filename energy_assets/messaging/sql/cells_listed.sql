-- What the rules of a group find in payloads that hold an array of values: a cell for each, beside its own time where
-- there is an array of times too.
WITH documents AS (
    SELECT messages.* EXCLUDE (payload),
           CASE WHEN $is_csv AND json_valid('[' || payload || ']') THEN '[' || payload || ']'
                WHEN $is_csv THEN NULL
                WHEN json_valid(payload) THEN payload END AS document
    FROM temp.routed_messages AS messages
    WHERE topic_number IN (SELECT topic_number FROM temp.known_topics WHERE group_number = $group)
      AND ($is_csv OR contains(payload, '['))
),
parsed AS (
    SELECT *, document IS NOT NULL AS is_json,
           CASE WHEN document IS NOT NULL THEN json_extract_string(document, $paths::VARCHAR[]) END AS fields
    FROM documents
),
found AS (
    SELECT batch, line_number, at_utc, arrived_at_utc, retained, is_json, topics.rule, topics.meter, topics.is_first,
           fields[value_at] AS value_text, fields[time_at] AS time_text, fields[id_at] AS id,
           fields[where_at] AS where_text
    FROM parsed
    JOIN temp.topic_rules AS topics ON topics.topic_number = parsed.topic_number
    WHERE topics.group_number = $group AND (starts_with(fields[value_at], '[') OR ($is_csv AND NOT is_json))
),
listed AS (
    SELECT *, CASE WHEN json_valid(value_text) THEN value_text::JSON::VARCHAR[] ELSE [value_text] END AS cells,
           CASE WHEN starts_with(time_text, '[') AND json_valid(time_text) THEN time_text::JSON::VARCHAR[] END AS stamps
    FROM found
)
SELECT batch, line_number, at_utc, arrived_at_utc, retained, is_json, rule, meter, is_first, position,
       CASE WHEN position = 0 THEN 'empty_list' END AS fault, cells[position] AS value_text,
       CASE WHEN stamps IS NULL THEN time_text ELSE stamps[position] END AS time_text, id, where_text
FROM (
    SELECT *, unnest(CASE WHEN greatest(len(cells), coalesce(len(stamps), 0)) = 0 THEN [0]
                          ELSE range(1, greatest(len(cells), coalesce(len(stamps), 0)) + 1) END) AS position
    FROM listed
)

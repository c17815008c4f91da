-- The same where a value may be an array: a cell for each of its items, beside its own time where there is an array of
-- times too.
WITH found AS (
    SELECT batch, line_number, at_utc, arrived_at_utc, retained, is_json, pairs.* EXCLUDE (pair), position, fault,
           CASE WHEN fields IS NOT NULL THEN fields[value_at] WHEN is_text THEN payload END AS value_text,
           fields[time_at] AS time_text, fields[id_at] AS id, fields[where_at] AS where_text
    FROM parsed
    JOIN temp.topic_rules AS pairs ON pairs.pair = parsed.pair
),
items AS (
    SELECT *, is_json AND coalesce(starts_with(value_text, '['), false) AS is_list,
           CASE WHEN NOT is_list THEN NULL
                WHEN json_valid(value_text) THEN value_text::JSON::VARCHAR[] ELSE [value_text] END AS texts,
           CASE WHEN is_list AND starts_with(time_text, '[') AND json_valid(time_text)
                THEN time_text::JSON::VARCHAR[] END AS stamps,
           greatest(len(texts), coalesce(len(stamps), 0)) AS items
    FROM found
    WHERE NOT is_spare OR NOT is_json OR value_text IS NOT NULL
),
placed AS (
    SELECT * EXCLUDE (position), unnest(CASE WHEN NOT is_list THEN [position] WHEN items = 0 THEN [0]
                                            ELSE range(1, items + 1) END) AS position
    FROM items
)
SELECT * EXCLUDE (is_spare, fault, value_text, time_text, is_list, texts, stamps, items),
       CASE WHEN is_list AND position = 0 THEN 'empty_list' END AS fault,
       CASE WHEN is_list THEN texts[position] ELSE value_text END AS value_text,
       CASE WHEN stamps IS NULL THEN time_text ELSE stamps[position] END AS time_text
FROM placed

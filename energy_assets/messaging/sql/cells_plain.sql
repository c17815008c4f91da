-- The value of every rule in every record, with its time and what else the rule looks at.
WITH found AS (
    SELECT batch, line_number, at_utc, arrived_at_utc, retained, is_json, pairs.* EXCLUDE (pair), position, fault,
           CASE WHEN fields IS NOT NULL THEN fields[value_at] WHEN is_text THEN payload END AS value_text,
           fields[time_at] AS time_text, fields[id_at] AS id, fields[where_at] AS where_text
    FROM parsed
    JOIN temp.topic_rules AS pairs ON pairs.pair = parsed.pair
)
SELECT * EXCLUDE (is_spare)
FROM found
WHERE NOT is_spare OR NOT is_json OR value_text IS NOT NULL OR fault IS NOT NULL

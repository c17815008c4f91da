-- What the rules of a piece look at in payloads that hold an array of records, one after the other.
WITH documents AS (
    SELECT *, json_valid(payload) AS is_json,
           CASE WHEN json_valid(payload) AND json_type(payload, $each) = 'ARRAY'
                THEN json_extract(payload, $each)::JSON[] END AS records
    FROM temp.routed_messages
    WHERE piece = $piece
),
listed AS (
    SELECT *, unnest(CASE WHEN coalesce(len(records), 0) = 0 THEN [0] ELSE range(1, len(records) + 1) END) AS position
    FROM documents
)
SELECT batch, line_number, at_utc, arrived_at_utc, retained, payload, pair, position,
       CASE WHEN is_json AND records IS NULL THEN 'not_a_list' WHEN is_json AND position = 0 THEN 'empty_list' END
           AS fault,
       CASE WHEN position > 0 THEN json_extract_string(records[position], $paths::VARCHAR[]) END AS fields, is_json
FROM listed

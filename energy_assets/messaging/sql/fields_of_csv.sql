-- Numbers between commas, as an array of them.
SELECT *, fields IS NOT NULL AS is_json, CASE WHEN fields IS NULL THEN 1::BIGINT END AS position
FROM (
    SELECT batch, line_number, at_utc, arrived_at_utc, retained, payload, pair, NULL::VARCHAR AS fault,
           TRY(json_extract_string('[' || payload || ']', $paths::VARCHAR[])) AS fields
    FROM temp.routed_messages
    WHERE piece = $piece
)

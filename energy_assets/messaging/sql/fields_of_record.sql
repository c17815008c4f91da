-- What the rules of a piece look at in payloads that hold one record; null where a payload is not JSON.
SELECT *, fields IS NOT NULL AS is_json
FROM (
    SELECT batch, line_number, at_utc, arrived_at_utc, retained, payload, pair, NULL::BIGINT AS position,
           NULL::VARCHAR AS fault, TRY(json_extract_string(payload, $paths::VARCHAR[])) AS fields
    FROM temp.routed_messages
    WHERE piece = $piece
)

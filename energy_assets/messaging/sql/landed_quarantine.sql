-- readings.quarantine of the staged rows. What is needed to read the message again stands with its first refusal; the
-- others of its rows only point at it.
WITH refused AS (
    SELECT *, row_number() OVER (PARTITION BY batch, line_number ORDER BY rule, position) AS number
    FROM temp.staged_rows
    WHERE reason IS NOT NULL
)
SELECT $source AS source, batch_id, refused.line_number, starts_at_utc, reason,
       json_object(
           'topic', topic, 'row', number, 'position', position, 'payload', CASE WHEN number = 1 THEN payload END,
           'encoding', encoding, 'arrived_at_us', epoch_us(messages.arrived_at_utc), 'at_us', epoch_us(at_utc),
           'retained', retained
       )::VARCHAR AS payload,
       coalesce(messages.arrived_at_utc, $now::TIMESTAMPTZ) AS available_at_utc
FROM refused
JOIN temp.staged_batches AS batches ON batches.batch = refused.batch
JOIN temp.incoming_messages AS messages
    ON messages.batch = refused.batch AND messages.line_number = refused.line_number

-- The messages of sealed segments; a line's number is its place in its segment, for sequences grow by one. Stamps are
-- cast in bulk: the reader itself takes three times as long for it.
INSERT INTO temp.incoming_messages
SELECT file_index AS batch, sequence - $firsts[(file_index + 1)::BIGINT] + 1 AS line_number, packet_id,
       stamp::TIMESTAMPTZ AS arrived_at_utc, arrived_at_utc AS at_utc, retained, duplicate, topic, payload, encoding,
       NULL AS fault
FROM (
    SELECT * RENAME (arrived_at_utc AS stamp), file_index
    FROM read_json($files, format = 'newline_delimited', maximum_object_size = $longest, columns = {
        sequence: 'BIGINT', packet_id: 'USMALLINT', arrived_at_utc: 'VARCHAR', retained: 'BOOLEAN',
        duplicate: 'BOOLEAN', topic: 'VARCHAR', payload: 'VARCHAR', encoding: 'VARCHAR'
    })
)

-- The messages of sealed segments; a line's number is its place in its segment, for sequences grow by one.
INSERT INTO temp.incoming_messages
SELECT batches.batch, sequence - batches.first_sequence + 1 AS line_number, packet_id, arrived_at_utc,
       arrived_at_utc AS at_utc, retained, duplicate, topic, payload, encoding, NULL AS fault
FROM read_json($files, format = 'newline_delimited', filename = true, maximum_object_size = $longest, columns = {
    sequence: 'BIGINT', packet_id: 'USMALLINT', arrived_at_utc: 'TIMESTAMPTZ', retained: 'BOOLEAN',
    duplicate: 'BOOLEAN', topic: 'VARCHAR', payload: 'VARCHAR', encoding: 'VARCHAR'
}) AS lines
JOIN temp.staged_batches AS batches ON batches.path = lines.filename

-- The messages of sealed segments, or of JSON lines in their columns, with the batch that each file is.
CREATE OR REPLACE TEMP TABLE incoming_messages AS
SELECT batches.batch_id, coalesce(sequence, row_number() OVER ()) AS sequence, arrived_at_utc,
       coalesce(qos, 0) AS qos, coalesce(retained, false) AS retained, coalesce(duplicate, false) AS duplicate,
       coalesce(topic, '') AS topic, coalesce(payload, '') AS payload, encoding
FROM read_json($files, format = 'newline_delimited', filename = true, maximum_object_size = 67108864, columns = {
    sequence: 'BIGINT', arrived_at_utc: 'TIMESTAMPTZ', qos: 'UTINYINT', retained: 'BOOLEAN', duplicate: 'BOOLEAN',
    topic: 'VARCHAR', payload: 'VARCHAR', encoding: 'VARCHAR'
}) AS lines
JOIN (SELECT unnest($files::VARCHAR[]) AS filename, unnest($batches::VARCHAR[]) AS batch_id) AS batches
    ON batches.filename = lines.filename

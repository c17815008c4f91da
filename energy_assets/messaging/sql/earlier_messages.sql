-- The last messages that were landed before, in case that some of the new ones repeat them.
CREATE OR REPLACE TEMP TABLE earlier_messages AS
SELECT clients.client, sequence, packet_id, topic, payload, duplicate, arrived_at_utc
FROM read_json($files, format = 'newline_delimited', filename = true, maximum_object_size = $longest, columns = {
    sequence: 'BIGINT', packet_id: 'USMALLINT', arrived_at_utc: 'TIMESTAMPTZ', retained: 'BOOLEAN',
    duplicate: 'BOOLEAN', topic: 'VARCHAR', payload: 'VARCHAR'
}) AS lines
JOIN (SELECT unnest($files::VARCHAR[]) AS path, unnest($clients::VARCHAR[]) AS client) AS clients
    ON clients.path = lines.filename
WHERE NOT retained

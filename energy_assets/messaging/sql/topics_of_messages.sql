-- The topics of the messages; whether an array may be in one's payloads, and whether messages of it cannot be read.
SELECT topic, bool_or(contains(payload, '[')) AS has_lists, bool_or(fault IS NOT NULL OR encoding IS NOT NULL) AS has_faults
FROM temp.incoming_messages
GROUP BY topic

-- A redelivery has packet identifier, topic and payload of the delivery that it repeats: the last one before it that is
-- no redelivery itself. Brokers send at most 65,535 messages ahead of our acknowledgement.
WITH wanted AS (
    SELECT DISTINCT batches.client, packet_id, topic, payload
    FROM temp.incoming_messages AS messages JOIN temp.staged_batches AS batches ON batches.batch = messages.batch
    WHERE duplicate AND NOT retained
),
seen AS (
    SELECT messages.batch, line_number, client, batches.first_sequence + line_number - 1 AS sequence, packet_id, topic, payload,
           duplicate, arrived_at_utc
    FROM temp.incoming_messages AS messages JOIN temp.staged_batches AS batches ON batches.batch = messages.batch
    WHERE NOT retained
    UNION ALL
    SELECT NULL, NULL, client, sequence, packet_id, topic, payload, duplicate, arrived_at_utc
    FROM temp.earlier_messages
),
candidates AS (
    SELECT seen.*, seen.packet_id IS NULL AS is_nameless,
           lag(sequence) OVER copies AS previous_sequence
    FROM seen
    SEMI JOIN wanted ON wanted.client = seen.client AND wanted.topic = seen.topic AND wanted.payload = seen.payload
        AND wanted.packet_id IS NOT DISTINCT FROM seen.packet_id
    WINDOW copies AS (PARTITION BY client, packet_id, topic, payload ORDER BY sequence)
),
deliveries AS (
    SELECT *, sum(CASE WHEN duplicate AND sequence - previous_sequence <= 65_535 THEN 0 ELSE 1 END) OVER (
               PARTITION BY client, packet_id, topic, payload ORDER BY sequence
           ) AS delivery
    FROM candidates
),
firsts AS (
    SELECT batch, line_number, duplicate, first_value(arrived_at_utc) OVER (
               PARTITION BY client, packet_id, topic, payload, delivery ORDER BY sequence
           ) AS first_at_utc
    FROM deliveries
)
UPDATE temp.incoming_messages AS messages
SET at_utc = firsts.first_at_utc
FROM firsts
WHERE firsts.batch = messages.batch AND firsts.line_number = messages.line_number AND firsts.duplicate

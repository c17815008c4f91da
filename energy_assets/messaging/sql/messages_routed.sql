-- The messages whose topics have a rule, once for each group of rules that looks at them.
SELECT batch, line_number, at_utc, arrived_at_utc, retained, payload, pair, piece
FROM temp.incoming_messages AS messages
JOIN temp.routed_topics AS topics ON topics.topic = messages.topic
WHERE encoding IS NULL AND fault IS NULL

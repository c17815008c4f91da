-- The messages whose topics have a rule, with the numbers of their topics.
SELECT batch, line_number, at_utc, arrived_at_utc, retained, payload, topic_number
FROM temp.incoming_messages AS messages
JOIN temp.topic_numbers AS topics ON topics.topic = messages.topic
WHERE encoding IS NULL AND fault IS NULL

-- Messages that no rule judges: lines that could not be read, payloads that are no text, topics without a rule, and
-- topics that are ignored whatever they say.
INSERT INTO temp.staged_rows BY NAME
SELECT batch, line_number,
       CASE WHEN fault IS NOT NULL THEN fault
            WHEN topics.topic IS NULL THEN CASE WHEN $others = 'refuse' THEN 'no_mapping' END
            WHEN encoding IS NOT NULL THEN 'not_text' END AS reason,
       CASE WHEN fault IS NULL AND (
                CASE WHEN topics.topic IS NULL THEN $others = 'ignore' ELSE encoding IS NULL AND topics.is_ignored END
            ) THEN 'ignored' END AS gone,
       false AS is_undated, false AS is_repeat
FROM temp.incoming_messages AS messages
LEFT JOIN temp.known_topics AS topics ON topics.topic = messages.topic
WHERE fault IS NOT NULL OR encoding IS NOT NULL OR topics.topic IS NULL OR topics.is_ignored

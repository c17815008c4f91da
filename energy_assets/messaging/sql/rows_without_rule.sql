-- Messages that no rule looks at: lines that could not be read, payloads that are no text, topics without a rule.
INSERT INTO temp.staged_rows BY NAME
SELECT batch, line_number,
       CASE WHEN fault IS NOT NULL THEN fault
            WHEN topics.topic IS NULL THEN CASE WHEN $others = 'refuse' THEN 'no_mapping' END
            ELSE 'not_text' END AS reason,
       CASE WHEN fault IS NULL AND topics.topic IS NULL AND $others = 'ignore' THEN 'ignored' END AS gone,
       false AS is_undated, false AS is_repeat
FROM temp.incoming_messages AS messages
LEFT JOIN temp.topic_numbers AS topics ON topics.topic = messages.topic
WHERE fault IS NOT NULL OR topics.topic IS NULL OR encoding IS NOT NULL

SELECT topic, meter_id, starts_at_utc, value, unit, reason, gone, is_repeat, left(payload, 80) AS message
FROM temp.staged_rows AS staged
JOIN temp.incoming_messages AS messages
    ON messages.batch = staged.batch AND messages.line_number = staged.line_number
LEFT JOIN temp.staged_rules AS rules ON rules.rule = staged.rule
ORDER BY staged.batch, staged.line_number, staged.rule, position

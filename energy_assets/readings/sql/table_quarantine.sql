SELECT $source AS source, batch_id, line_number, starts_at_utc, reason, coalesce(payload, '') AS payload,
       $now::TIMESTAMPTZ AS available_at_utc
FROM temp.staged_window
WHERE reason IS NOT NULL

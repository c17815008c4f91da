SELECT meter_id, min(starts_at_utc) AS valid_from_utc
FROM temp.staged_window
WHERE reason IS NULL
GROUP BY meter_id

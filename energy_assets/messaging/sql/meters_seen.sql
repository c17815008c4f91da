-- The meters that reported, each with the first rule that named it.
SELECT meter_id, min(starts_at_utc) AS valid_from_utc, min(rule) AS rule
FROM temp.staged_rows
WHERE meter_id IS NOT NULL
GROUP BY meter_id

SELECT count(*) FILTER (WHERE is_undated AND meter_id IS NOT NULL) AS undated, min(starts_at_utc) AS first,
       max(starts_at_utc) AS last, count(*) FILTER (WHERE gone IS NOT NULL) AS gone
FROM temp.staged_rows

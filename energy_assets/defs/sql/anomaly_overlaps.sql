-- Events of one meter (or site-wide, of one site) and cause that overlap; there should be none.
SELECT event_id, meter_id, site_id, cause, starts_at_utc, ends_at_utc, earlier_end
FROM (
    SELECT *, lag(ends_at_utc) OVER (
        PARTITION BY meter_id, site_id, family, cause ORDER BY starts_at_utc, ends_at_utc
    ) AS earlier_end
    FROM anomalies.events
)
WHERE earlier_end > starts_at_utc
ORDER BY starts_at_utc

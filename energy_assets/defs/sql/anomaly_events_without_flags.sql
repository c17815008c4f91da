-- Events of single meters of the window that stand on fewer flagged slots than they say.
WITH events AS (
    SELECT event_id, meter_id, cause, starts_at_utc, ends_at_utc, slots
    FROM anomalies.events
    WHERE meter_id IS NOT NULL AND ends_at_utc > $starts AND starts_at_utc < $ends
)
SELECT events.event_id, any_value(events.meter_id) AS meter_id, any_value(events.cause) AS cause,
       any_value(events.slots) AS slots, count(DISTINCT flags.starts_at_utc) AS flagged_slots
FROM events
LEFT JOIN anomalies.flags AS flags
  ON flags.meter_id = events.meter_id AND flags.starts_at_utc >= events.starts_at_utc
 AND flags.starts_at_utc < events.ends_at_utc
GROUP BY events.event_id
HAVING count(DISTINCT flags.starts_at_utc) < any_value(events.slots)

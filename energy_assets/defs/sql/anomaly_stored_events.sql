-- Every stored event that the window's flags may change or that stands beside one: those of touched meters, of the days
-- before, still open, spoken about; and the whole of every incident that one of them is part of.
WITH touched AS (
    SELECT meter_id FROM anomalies.flags WHERE starts_at_utc >= $starts AND starts_at_utc < $ends
    UNION
    SELECT meter_id FROM anomalies.events
    WHERE meter_id IS NOT NULL AND ends_at_utc + $widest >= $starts AND starts_at_utc - $widest <= $ends
),
wanted AS (
    SELECT event_id, incident_id
    FROM anomalies.events
    WHERE meter_id IN (SELECT meter_id FROM touched) OR starts_at_utc >= $since OR state = 'open'
       OR event_id IN (SELECT event_id FROM anomalies.feedback)
)
SELECT *
FROM anomalies.events
WHERE event_id IN (SELECT event_id FROM wanted)
   OR incident_id IN (SELECT incident_id FROM wanted WHERE incident_id IS NOT NULL)

-- The events that were spoken about, and all of their meters' or, of an incident, of its members' meters.
WITH concerned AS (
    SELECT meter_id FROM anomalies.events
    WHERE meter_id IS NOT NULL
      AND (event_id IN (SELECT unnest($event_ids)) OR incident_id IN (SELECT unnest($event_ids)))
)
SELECT *
FROM anomalies.events
WHERE event_id IN (SELECT unnest($event_ids)) OR meter_id IN (SELECT meter_id FROM concerned)

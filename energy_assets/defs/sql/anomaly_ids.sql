SELECT event_id FROM anomalies.events WHERE starts_with(event_id, $begin) LIMIT 2

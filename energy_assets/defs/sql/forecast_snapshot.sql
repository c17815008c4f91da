-- The snapshot in which the forecast of an issue was committed: it saw everything that the forecast was made from.
SELECT max(snapshot_id) AS snapshot_id FROM forecasts.load WHERE issued_at_utc = $issued

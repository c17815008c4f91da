SELECT starts_at_utc FROM anomalies.events WHERE meter_id IS NULL

-- What may be an echo, and what its meter said before it: a broker sends what it retains to every new subscription, and
-- without a clock of the device only the value tells that nothing is new.
CREATE OR REPLACE TEMP TABLE earlier_readings AS
SELECT meter_id, starts_at_utc, payload_hash
FROM temp.staged_rows
WHERE meter_id IN (SELECT meter_id FROM temp.staged_rows WHERE is_undated AND meter_id IS NOT NULL)

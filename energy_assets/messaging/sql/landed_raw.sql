-- readings.raw of the staged rows: known when they arrived; without a time of arrival, now.
SELECT meter_id, starts_at_utc, $source AS source, payload_hash, value, unit, measure,
       coalesce(arrived_at_utc, $now::TIMESTAMPTZ) + $delay AS available_at_utc, batch_id
FROM temp.staged_rows AS staged
JOIN temp.staged_rules AS rules ON rules.rule = staged.rule
JOIN temp.staged_batches AS batches ON batches.batch = staged.batch
WHERE meter_id IS NOT NULL AND NOT is_repeat

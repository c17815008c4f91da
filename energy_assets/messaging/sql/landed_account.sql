-- readings.landings of the staged rows: what became of those of every batch and UTC day. The ignored are no rows.
SELECT $source AS source, batch_id,
       make_timestamptz(epoch_us(starts_at_utc) // 86_400_000_000 * 86_400_000_000) AS starts_at_utc,
       count(*) AS rows_in, count(*) FILTER (WHERE meter_id IS NOT NULL AND NOT is_repeat) AS stored,
       count(*) FILTER (WHERE is_repeat) AS duplicate, count(*) FILTER (WHERE reason IS NOT NULL) AS quarantined,
       printf('%016x', coalesce(bit_xor(hash(meter_id, starts_at_utc, value))
           FILTER (WHERE meter_id IS NOT NULL AND NOT is_repeat), 0::UBIGINT)) AS content_hash,
       $now::TIMESTAMPTZ AS landed_at_utc
FROM temp.staged_rows AS staged
JOIN temp.staged_batches AS batches ON batches.batch = staged.batch
WHERE gone IS NULL
GROUP BY ALL

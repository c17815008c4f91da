-- Readings that the lake has, from other batches than those that are being replaced.
UPDATE temp.staged_rows SET is_repeat = true
WHERE rowid IN (
    SELECT staged.rowid
    FROM temp.staged_rows AS staged
    SEMI JOIN (
        SELECT meter_id, starts_at_utc, payload_hash
        FROM readings.raw
        WHERE source = $source AND starts_at_utc >= $first AND starts_at_utc <= $last
          AND NOT list_contains($replaced::VARCHAR[], batch_id)
    ) AS stored ON stored.meter_id = staged.meter_id AND stored.starts_at_utc = staged.starts_at_utc
        AND stored.payload_hash = staged.payload_hash
    WHERE staged.meter_id IS NOT NULL AND NOT staged.is_repeat
)

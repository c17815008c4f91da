-- What another rule made of the same message was stored and counted when it came.
DELETE FROM temp.staged_rows
WHERE rowid IN (
    SELECT staged.rowid
    FROM temp.staged_rows AS staged
    JOIN temp.staged_batches AS batches ON batches.batch = staged.batch
    SEMI JOIN (SELECT * FROM readings.raw WHERE source = $source) AS stored
        ON stored.batch_id = batches.batch_id AND stored.meter_id = staged.meter_id
        AND stored.starts_at_utc = staged.starts_at_utc AND stored.payload_hash = staged.payload_hash
        AND stored.available_at_utc = staged.arrived_at_utc + $delay
    WHERE staged.meter_id IS NOT NULL
)

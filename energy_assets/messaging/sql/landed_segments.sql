-- readings.segments: the account of every batch.
WITH outcomes AS (
    SELECT batch, count(*) AS rows_in, count(*) FILTER (WHERE meter_id IS NOT NULL AND NOT is_repeat) AS stored,
           count(*) FILTER (WHERE is_repeat) AS duplicate, count(*) FILTER (WHERE reason IS NOT NULL) AS quarantined,
           count(*) FILTER (WHERE gone IS NOT NULL) AS ignored
    FROM temp.staged_rows
    GROUP BY batch
),
counted AS (SELECT batch, count(*) AS messages FROM temp.incoming_messages GROUP BY batch)
SELECT $source AS source, batch_id, name AS segment, coalesce(messages, 0) AS messages, coalesce(rows_in, 0) AS rows_in,
       coalesce(stored, 0) AS stored, coalesce(duplicate, 0) AS duplicate, coalesce(quarantined, 0) AS quarantined,
       coalesce(ignored, 0) AS ignored, $now::TIMESTAMPTZ AS landed_at_utc
FROM temp.staged_batches AS batches
LEFT JOIN counted ON counted.batch = batches.batch
LEFT JOIN outcomes ON outcomes.batch = batches.batch

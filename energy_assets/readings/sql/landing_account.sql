-- readings.landings: what became of the rows of every batch and UTC day.
WITH outcomes AS (
    SELECT meters.batch_id, days.utc_day, days.cells AS stored, 0 AS duplicate, 0 AS quarantined, days.fingerprint
    FROM temp.staged_days AS days
    JOIN temp.staged_meters AS meters USING (meter_key)
    UNION ALL
    SELECT batch_id, utc_day, 0, 1, 0, NULL FROM temp.staged_repeats
    UNION ALL
    SELECT batch_id, make_timestamp(starts_us)::DATE, 0, 0, 1, NULL FROM temp.staged_quarantine
)
SELECT
    $source AS source,
    batch_id,
    make_timestamptz(epoch_us(utc_day::TIMESTAMP)) AS starts_at_utc,
    sum(stored + duplicate + quarantined)::BIGINT AS rows_in,
    sum(stored)::BIGINT AS stored,
    sum(duplicate)::BIGINT AS duplicate,
    sum(quarantined)::BIGINT AS quarantined,
    printf('%016x', coalesce(bit_xor(fingerprint), 0::UBIGINT)) AS content_hash,
    $now::TIMESTAMPTZ AS landed_at_utc
FROM outcomes
GROUP BY batch_id, utc_day
ORDER BY batch_id, utc_day

-- One row a meter and UTC day: enough to see faults and repeats without sorting the cells. Hours are a bit set: a day
-- whose cells all lie in different hours has no repeat. Calendar functions of TIMESTAMP are many times faster here
-- than divisions, and than those of TIMESTAMPTZ.
CREATE OR REPLACE TEMP TABLE staged_days AS
WITH placed AS (
    SELECT
        cells.meter_key,
        cells.value,
        CASE
            WHEN cells.local_at >= TIMESTAMP '1970-01-03' AND cells.local_at < TIMESTAMP '2200-01-01'
            THEN make_timestamp(epoch_us(cells.local_at) - meters.offset_us)
        END AS starts_at
    FROM temp.staged_cells AS cells
    LEFT JOIN temp.staged_meters AS meters USING (meter_key)
)
SELECT
    meter_key,
    starts_at::DATE AS utc_day,
    count(*) AS cells,
    min(starts_at) AS first_at,
    bit_or(1::BIGINT << hour(starts_at)) AS hours,
    bit_xor(hash(meter_key, starts_at, value)) AS fingerprint,
    count(*) > count(starts_at) OR count(*) > count(value) OR NOT isfinite(sum(value)) AS is_faulty
FROM placed
GROUP BY meter_key, utc_day

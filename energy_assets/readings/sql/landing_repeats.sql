-- Cells that say again what another cell said: same meter, same time, same value. Only suspicious days are looked at.
CREATE OR REPLACE TEMP TABLE staged_repeats AS
WITH suspicious AS (
    SELECT meter_key, utc_day FROM temp.staged_days WHERE bit_count(hours) < cells
),
ranked AS (
    SELECT
        cells.rowid AS cell,
        meters.batch_id,
        make_timestamp(epoch_us(cells.local_at) - meters.offset_us)::DATE AS utc_day,
        row_number() OVER (PARTITION BY cells.meter_key, cells.local_at, cells.value ORDER BY cells.rowid) AS nth
    FROM temp.staged_cells AS cells
    JOIN temp.staged_meters AS meters USING (meter_key)
    SEMI JOIN suspicious
        ON suspicious.meter_key = cells.meter_key
        AND suspicious.utc_day = make_timestamp(epoch_us(cells.local_at) - meters.offset_us)::DATE
)
SELECT cell, batch_id, utc_day FROM ranked WHERE nth > 1

-- Keep the cells of a window.
CREATE OR REPLACE TEMP TABLE staged_cells AS
SELECT cells.meter_key, cells.local_at, cells.value
FROM temp.staged_cells AS cells
JOIN temp.staged_meters AS meters USING (meter_key)
WHERE epoch_us(cells.local_at) - meters.offset_us >= epoch_us($starts_at_utc::TIMESTAMPTZ)
  AND epoch_us(cells.local_at) - meters.offset_us < epoch_us($ends_at_utc::TIMESTAMPTZ)

-- Cells of the file that cannot become readings.
SELECT count(*)
FROM temp.staged_file AS cells
LEFT JOIN temp.staged_meters AS meters USING (meter_key)
WHERE meters.offset_us IS NULL
   OR NOT coalesce(isfinite(cells.value), false)
   OR NOT coalesce(cells.local_at >= TIMESTAMP '1970-01-03' AND cells.local_at < TIMESTAMP '2200-01-01', false)

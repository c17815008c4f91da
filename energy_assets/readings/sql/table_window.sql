-- The rows of a window (null: all) and those without a readable time, with repeats counted after the first of its kind.
CREATE OR REPLACE TEMP TABLE staged_window AS
SELECT *,
       reason IS NULL AND row_number() OVER (
           PARTITION BY meter_id, starts_at_utc, value, reason ORDER BY batch_id, line_number
       ) > 1 AS is_repeat
FROM temp.staged_rows
WHERE starts_at_utc IS NULL OR $starts_at_utc IS NULL
   OR (starts_at_utc >= $starts_at_utc::TIMESTAMPTZ AND starts_at_utc < $ends_at_utc::TIMESTAMPTZ)

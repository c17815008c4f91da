-- The cells that are readings.
CREATE OR REPLACE TEMP TABLE staged_file AS
SELECT meter_key, local_at, value FROM temp.staged_lines WHERE reason IS NULL

-- Cells of all files: none yet.
CREATE OR REPLACE TEMP TABLE staged_cells (meter_key BIGINT, local_at TIMESTAMP, value DOUBLE)

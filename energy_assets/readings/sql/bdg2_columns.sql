-- The columns of a wide file, and the meter that each stands for.
CREATE OR REPLACE TEMP TABLE staged_columns AS SELECT position, column_name, meter_key FROM incoming_columns

-- Judged rows of all parts of a table; none yet.
CREATE OR REPLACE TEMP TABLE staged_rows (
    line_number BIGINT, meter_id VARCHAR, starts_at_utc TIMESTAMPTZ, payload VARCHAR, unit VARCHAR, measure VARCHAR,
    interval_minutes BIGINT, value DOUBLE, reason VARCHAR, batch_id VARCHAR
)

-- Judged rows of all messages; none yet.
CREATE OR REPLACE TEMP TABLE staged_rows (
    line_number BIGINT, meter_id VARCHAR, starts_at_utc TIMESTAMPTZ, value DOUBLE, unit VARCHAR, measure VARCHAR,
    interval_minutes BIGINT, reason VARCHAR, payload VARCHAR, topic VARCHAR, rule INTEGER,
    available_at_utc TIMESTAMPTZ, batch_id VARCHAR
)

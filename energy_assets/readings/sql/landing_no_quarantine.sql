-- Refused rows: none yet.
CREATE OR REPLACE TEMP TABLE staged_quarantine (
    batch_id VARCHAR, line_number BIGINT, starts_us BIGINT, reason VARCHAR, payload VARCHAR
)

-- readings.quarantine from the refused rows.
SELECT
    $source AS source,
    batch_id,
    line_number,
    make_timestamptz(starts_us) AS starts_at_utc,
    reason,
    payload,
    $now::TIMESTAMPTZ AS available_at_utc
FROM temp.staged_quarantine

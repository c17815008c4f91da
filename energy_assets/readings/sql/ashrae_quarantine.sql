-- The lines that are not, with their time where clock and stamp are known.
CREATE OR REPLACE TEMP TABLE staged_quarantine AS
SELECT
    $batch_id AS batch_id,
    line_number,
    CASE WHEN reason <> 'malformed_line' THEN epoch_us(local_at) - offset_us END AS starts_us,
    reason,
    payload
FROM temp.staged_lines
WHERE reason IS NOT NULL

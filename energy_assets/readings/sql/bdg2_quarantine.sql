-- The cells and lines that are not.
INSERT INTO temp.staged_quarantine
SELECT $batch_id, line_number, epoch_us(local_at) - offset_us, reason, payload
FROM temp.staged_lines
WHERE reason IS NOT NULL

-- Messages of which a rule wanted nothing.
CREATE OR REPLACE TEMP TABLE staged_gone AS
SELECT batch, line_number, bool_or(gone = 'ignored') AS is_ignored
FROM temp.staged_rows
WHERE gone IS NOT NULL
GROUP BY batch, line_number

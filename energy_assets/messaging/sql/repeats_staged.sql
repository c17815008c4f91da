-- Readings that came before among these: same meter, time and value. Candidates are found by fingerprint first.
WITH twice AS (
    SELECT hash(meter_id, starts_at_utc, payload_hash) AS mark
    FROM temp.staged_rows
    WHERE meter_id IS NOT NULL
    GROUP BY mark
    HAVING count(*) > 1
),
numbered AS (
    SELECT rowid AS place, row_number() OVER (
               PARTITION BY meter_id, starts_at_utc, payload_hash ORDER BY batch, line_number, rule, position
           ) AS number
    FROM temp.staged_rows
    WHERE meter_id IS NOT NULL AND hash(meter_id, starts_at_utc, payload_hash) IN (SELECT mark FROM twice)
)
UPDATE temp.staged_rows SET is_repeat = true
WHERE rowid IN (SELECT place FROM numbered WHERE number > 1)

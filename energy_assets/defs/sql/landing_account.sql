-- What the account says beside what the tables hold, per source, over the days of the run.
WITH accounted AS (
    SELECT source, sum(rows_in) AS rows_in, sum(stored) AS stored, sum(duplicate) AS duplicate,
           sum(quarantined) AS quarantined
    FROM readings.landings
    WHERE starts_at_utc >= $starts AND starts_at_utc < $ends
    GROUP BY source
),
held AS (
    SELECT source, count(*) AS rows_held
    FROM readings.raw
    WHERE starts_at_utc >= $starts AND starts_at_utc < $ends
    GROUP BY source
)
SELECT coalesce(accounted.source, held.source) AS source,
       coalesce(rows_in, 0)::BIGINT AS rows_in,
       coalesce(stored, 0)::BIGINT AS stored,
       coalesce(duplicate, 0)::BIGINT AS duplicate,
       coalesce(quarantined, 0)::BIGINT AS quarantined,
       coalesce(rows_held, 0)::BIGINT AS rows_held
FROM accounted FULL JOIN held ON accounted.source = held.source
ORDER BY source

SELECT quality, coalesce(reason, '') AS reason, count(*) AS intervals,
       round(sum(energy_kwh), 1) AS energy_kwh
FROM readings.interval
WHERE starts_at_utc >= $starts AND starts_at_utc < $ends
GROUP BY ALL
ORDER BY intervals DESC

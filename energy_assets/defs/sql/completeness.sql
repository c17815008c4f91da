SELECT meter_id, count(*) AS intervals, count(energy_kwh) AS known
FROM readings.interval
WHERE starts_at_utc >= $starts AND starts_at_utc < $ends
GROUP BY meter_id

-- Mean temperature per site and UTC day; half a day of offset more or less moves a daily mean little.
SELECT site_id, epoch_us(starts_at_utc) // 86_400_000_000 AS local_day, avg(temperature_c) AS temperature_c
FROM weather.observed
WHERE starts_at_utc >= $starts AND starts_at_utc < $ends AND temperature_c IS NOT NULL
GROUP BY ALL

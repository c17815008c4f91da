SELECT max(available_at_utc) AS known_until_utc
FROM readings.raw

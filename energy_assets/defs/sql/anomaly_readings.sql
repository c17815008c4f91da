-- What the judgement of days needs of the readings of some meters, as narrow as it can be: the number of the meter in
-- $meter_ids, and a reason only where cleaning gave one. How late a reading came counts for the judged days alone.
SELECT meters.number::UINTEGER AS meter,
       starts_at_utc,
       interval_minutes,
       reported_kwh,
       energy_kwh,
       CASE WHEN quality <> 'measured' THEN coalesce(reason, CASE WHEN quality = 'missing' THEN 'gap' END) END AS reason,
       CASE WHEN starts_at_utc >= $judged_from THEN available_at_utc END AS available_at_utc
FROM readings.interval
JOIN (SELECT unnest($meter_ids) AS meter_id, generate_subscripts($meter_ids, 1) - 1 AS number) AS meters
     USING (meter_id)
WHERE starts_at_utc >= $starts AND starts_at_utc < $ends

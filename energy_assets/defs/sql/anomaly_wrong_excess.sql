-- Events whose excess is not what was reported minus what was expected, or that lack one, or have one as a data fault.
SELECT event_id, family, actual_kwh, expected_kwh, excess_kwh, excess_low_kwh, excess_high_kwh
FROM anomalies.events
WHERE (family = 'data_fault') <> (excess_kwh IS NULL)
   OR abs(excess_kwh - (actual_kwh - expected_kwh)) > 1e-9 * greatest(1, abs(actual_kwh), abs(expected_kwh))
   OR NOT excess_kwh BETWEEN excess_low_kwh AND excess_high_kwh

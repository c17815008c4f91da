SELECT *
FROM features.load
WHERE issued_at_utc >= $starts_at_utc
    AND issued_at_utc < $ends_at_utc
    AND list_contains($meter_ids, meter_id)
ORDER BY meter_id, issued_at_utc, starts_at_utc

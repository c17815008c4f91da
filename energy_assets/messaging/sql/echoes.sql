-- A retained message without a clock is a repeat when its meter's last reading before it says the same.
UPDATE temp.staged_rows SET is_repeat = true
WHERE rowid IN (
    SELECT echo.place
    FROM (
        SELECT rowid AS place, meter_id, starts_at_utc, payload_hash
        FROM temp.staged_rows
        WHERE is_undated AND meter_id IS NOT NULL
    ) AS echo
    ASOF JOIN temp.earlier_readings AS earlier
        ON earlier.meter_id = echo.meter_id AND echo.starts_at_utc > earlier.starts_at_utc
    WHERE earlier.payload_hash = echo.payload_hash
)

-- Days by division: calendar functions of TIMESTAMPTZ take seconds for a million rows.
WITH days AS (
    SELECT meter_id, make_timestamptz(epoch_us(starts_at_utc) // 86_400_000_000 * 86_400_000_000) AS starts_at_utc,
           sum(energy_kwh) AS energy_kwh,
           count(energy_kwh) / count(*) AS coverage_fraction
    FROM readings.interval
    WHERE starts_at_utc >= $starts AND starts_at_utc < $ends
    GROUP BY ALL
),
flags AS (
    SELECT meter_id, make_timestamptz(epoch_us(starts_at_utc) // 86_400_000_000 * 86_400_000_000) AS starts_at_utc,
           count(*) AS flags
    FROM anomalies.flags
    WHERE starts_at_utc >= $starts AND starts_at_utc < $ends
    GROUP BY ALL
)
SELECT days.meter_id, meters.premise_id, meters.site_id, meters.commodity, meters.direction, days.starts_at_utc,
       days.energy_kwh, days.coverage_fraction, coalesce(flags.flags, 0) AS flags
FROM days
JOIN metering.meters AS meters USING (meter_id)
LEFT JOIN flags ON flags.meter_id = days.meter_id AND flags.starts_at_utc = days.starts_at_utc

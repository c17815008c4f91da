-- What each premise used and produced of electricity in `cleaned`, by what its meters have told: intervals that have
-- ended by $known_by, of meters that said something of the day. Where a premise measures its use itself that counts,
-- else what the grid delivers.
SELECT premise_id, flow, $starts::TIMESTAMPTZ AS day_starts_at_utc, min(until_utc) AS until_utc,
       sum(energy_kwh) AS energy_kwh, sum(known) / sum(ended) AS coverage_fraction
FROM (
    SELECT *, rank() OVER (PARTITION BY premise_id, flow ORDER BY is_own DESC) AS place
    FROM (
        SELECT meters.meter_id, premise_id, direction IN ('consumption', 'production') AS is_own,
               CASE WHEN direction IN ('consumption', 'grid_import') THEN 'consumption' ELSE 'production' END AS flow,
               sum(energy_kwh) AS energy_kwh, count(energy_kwh) AS known, count(*) AS ended,
               max(starts_at_utc + to_minutes(cleaned.interval_minutes)) FILTER (WHERE energy_kwh IS NOT NULL)
                   AS until_utc
        FROM cleaned
        JOIN metering.meters AS meters ON meters.meter_id = cleaned.meter_id AND meters.commodity = 'electricity'
        WHERE starts_at_utc + to_minutes(cleaned.interval_minutes) <= $known_by
        GROUP BY ALL
    )
    WHERE known > 0
)
WHERE place = 1
GROUP BY premise_id, flow
ORDER BY premise_id, flow

-- Electricity of premises by UTC day. Where a premise measures its use itself that counts, else what the grid delivers.
WITH flows AS (
    SELECT premise_id, direction, starts_at_utc AS day, sum(energy_kwh) AS energy_kwh,
           CASE WHEN direction IN ('consumption', 'grid_import') THEN 'consumption' ELSE 'production' END AS flow,
           direction IN ('consumption', 'production') AS is_own
    FROM marts.daily_energy
    WHERE commodity = 'electricity' AND starts_at_utc >= $starts AND starts_at_utc < $ends AND energy_kwh IS NOT NULL
    GROUP BY ALL
)
SELECT premise_id, flow, day, energy_kwh
FROM flows
QUALIFY rank() OVER (PARTITION BY premise_id, flow ORDER BY is_own DESC) = 1

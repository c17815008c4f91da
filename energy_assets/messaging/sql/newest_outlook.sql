-- The newest forecast of each premise's electricity, from the present slot on.
WITH nodes AS (
    SELECT *, split_part(node_id, '|', 1) AS premise_id, split_part(node_id, '|', 3) AS direction
    FROM marts.outlook
    WHERE node_kind = 'premise' AND split_part(node_id, '|', 2) = 'electricity'
      AND issued_at_utc > $now - INTERVAL 3 DAY AND issued_at_utc <= $now
),
flows AS (
    SELECT *, CASE WHEN direction IN ('consumption', 'grid_import') THEN 'consumption' ELSE 'production' END AS flow,
           direction IN ('consumption', 'production') AS is_own
    FROM nodes
    WHERE direction <> 'net'
)
SELECT premise_id, flow, issued_at_utc, starts_at_utc, q10_kwh, q50_kwh, q90_kwh, method
FROM flows
WHERE starts_at_utc > $now - INTERVAL 1 HOUR
QUALIFY rank() OVER (PARTITION BY premise_id, flow ORDER BY is_own DESC, issued_at_utc DESC) = 1

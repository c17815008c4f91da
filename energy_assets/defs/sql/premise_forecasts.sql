-- The net load of premises in the newest forecast.
SELECT load.site_id AS zone_id, split_part(load.node_id, '|', 1) AS premise_id, load.starts_at_utc,
       load.interval_minutes, load.q10, load.q50, load.q90
FROM forecasts.load AS load
WHERE load.issued_at_utc = (SELECT max(issued_at_utc) FROM forecasts.load)
  AND load.node_kind = 'premise' AND load.commodity = 'electricity' AND load.direction = 'net'

-- Every publication of statements; its statements are those that stood after it.
SELECT DISTINCT zone_id, period_start, publication FROM settlement.statements ORDER BY period_start, zone_id, publication

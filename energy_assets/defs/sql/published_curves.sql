SELECT DISTINCT zone_id, delivery_date, revision FROM prices.curves ORDER BY delivery_date, revision, zone_id

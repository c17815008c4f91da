SELECT zone_id, max(local_date) AS newest FROM settlement.pools GROUP BY zone_id

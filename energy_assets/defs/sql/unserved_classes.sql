SELECT DISTINCT
    'load-' || replace(commodity, '_', '-') || '-' || interval_minutes || 'min' AS model
FROM forecasts.load
WHERE issued_at_utc = $issued_at_utc
    AND node_kind = 'meter'
    AND list_contains(string_split(reason, '+'), 'registry_empty')
ORDER BY model

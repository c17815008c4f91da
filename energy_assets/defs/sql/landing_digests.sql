-- What of each day was landed, as a mark that changes when stored content does; batches without content say nothing.
SELECT starts_at_utc::DATE AS day, sum(hash(source, content_hash))::VARCHAR AS mark
FROM readings.landings
WHERE starts_at_utc IS NOT NULL AND content_hash <> '0000000000000000'
GROUP BY day
ORDER BY day

SELECT flags.*
FROM anomalies.flags AS flags
JOIN (
    SELECT unnest($meter_ids) AS meter_id, unnest($from_us) AS from_us, unnest($until_us) AS until_us
) AS spans
  ON spans.meter_id = flags.meter_id AND epoch_us(flags.starts_at_utc) >= spans.from_us
 AND epoch_us(flags.starts_at_utc) < spans.until_us
WHERE flags.starts_at_utc >= $first AND flags.starts_at_utc < $last AND flags.rule <> 'iqr_fence'

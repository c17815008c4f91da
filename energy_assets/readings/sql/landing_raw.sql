-- readings.raw from the staged cells.
SELECT
    meters.meter_id,
    make_timestamptz(epoch_us(cells.local_at) - meters.offset_us) AS starts_at_utc,
    $source AS source,
    hash(cells.value, meters.unit, 'interval_energy') AS payload_hash,
    cells.value,
    meters.unit,
    'interval_energy' AS measure,
    make_timestamptz(epoch_us(cells.local_at) - meters.offset_us + $known_after_us) AS available_at_utc,
    meters.batch_id
FROM temp.staged_cells AS cells
JOIN temp.staged_meters AS meters USING (meter_key)

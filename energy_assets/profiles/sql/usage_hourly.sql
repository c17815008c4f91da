-- Energy and cost per node and hour of [$starts, $ends). Instants are microseconds since 1970.
WITH curve AS MATERIALIZED (
    SELECT zone_id, epoch_us(starts_at_utc) AS start_us, interval_minutes * 60_000_000 AS length_us,
           price_units / 100000.0 AS price, export_price_units / 100000.0 AS export_price
    FROM prices.curves
    WHERE starts_at_utc >= $starts - INTERVAL 1 DAY AND starts_at_utc < $ends + INTERVAL 1 DAY
    QUALIFY row_number() OVER (PARTITION BY zone_id, starts_at_utc ORDER BY delivery_date DESC, revision DESC) = 1
),
cadences AS (SELECT DISTINCT interval_minutes * 60_000_000 AS length_us FROM metering.meters),
-- The price of an interval is the mean over its time; an interval that is priced in part has no published price.
tariffs AS MATERIALIZED (
    SELECT zone_id, cadence_us, part_us // cadence_us AS slot,
           sum(price * step_us) / sum(step_us) AS price, sum(export_price * step_us) / sum(step_us) AS export_price
    FROM (
        -- Parts that fit both the curve's slots and the intervals, which on a clock of half hours begin apart.
        SELECT *, start_us + unnest(range(0, length_us, step_us)) AS part_us
        FROM (
            SELECT zone_id, price, export_price, start_us, curve.length_us, cadences.length_us AS cadence_us,
                   gcd(gcd(cadences.length_us, curve.length_us), start_us) AS step_us
            FROM curve CROSS JOIN cadences
        )
    )
    GROUP BY ALL
    HAVING sum(step_us) >= cadence_us
),
meters AS MATERIALIZED (
    SELECT meters.meter_id, meters.site_id, meters.commodity = 'electricity' AS has_cost,
           meters.direction IN ('production', 'grid_export') AS is_fed_in,
           rates.flat_rate, rates.export_rate, rates.currency_code
    FROM metering.meters AS meters
    LEFT JOIN usage_rates AS rates USING (site_id)
),
slots AS (
    SELECT meter_id, epoch_us(starts_at_utc) AS start_us, interval_minutes, energy_kwh
    FROM readings.interval
    WHERE starts_at_utc >= $starts AND starts_at_utc < $ends
),
meter_hours AS MATERIALIZED (
    SELECT slots.meter_id, slots.start_us // 3_600_000_000 AS hour,
           (slots.start_us + clock.offset_us) // 3_600_000_000 AS local_slot,
           sum(energy_kwh) AS energy_kwh,
           coalesce(sum(slots.interval_minutes) FILTER (WHERE energy_kwh IS NOT NULL), 0)::DOUBLE / 60 AS known_hours,
           sum(slots.interval_minutes)::DOUBLE / 60 AS expected_hours,
           sum(CASE WHEN NOT has_cost THEN NULL
                    WHEN is_fed_in THEN -energy_kwh * coalesce(tariffs.export_price, export_rate)
                    ELSE energy_kwh * coalesce(tariffs.price, flat_rate) END) AS cost,
           sum(CASE WHEN NOT has_cost THEN NULL
                    WHEN is_fed_in THEN -energy_kwh * export_rate
                    ELSE energy_kwh * flat_rate END) AS flat_cost,
           coalesce(sum(abs(energy_kwh)) FILTER (WHERE has_cost AND tariffs.price IS NOT NULL), 0) AS published_kwh,
           any_value(CASE WHEN has_cost THEN currency_code END) AS currency_code
    FROM slots
    JOIN meters ON meters.meter_id = slots.meter_id
    JOIN usage_clocks AS clock
      ON clock.meter_id = slots.meter_id AND slots.start_us >= clock.from_us AND slots.start_us < clock.to_us
    LEFT JOIN tariffs
      ON tariffs.zone_id = meters.site_id AND tariffs.cadence_us = slots.interval_minutes * 60_000_000
     AND tariffs.slot = slots.start_us // (slots.interval_minutes * 60_000_000) AND meters.has_cost
    GROUP BY ALL
)
SELECT members.node_id, members.node_kind, members.site_id, members.commodity, members.direction,
       make_timestamptz(hour * 3_600_000_000) AS starts_at_utc,
       DATE '1970-01-01' + (local_slot // 24)::INTEGER AS local_date, local_slot % 24 AS local_hour,
       sum(members.sign * energy_kwh) AS energy_kwh, sum(known_hours) AS known_hours,
       sum(expected_hours) AS expected_hours,
       CASE WHEN count(DISTINCT currency_code) = 1 THEN sum(cost) END AS cost,
       CASE WHEN count(DISTINCT currency_code) = 1 THEN sum(flat_cost) END AS flat_cost,
       sum(published_kwh) AS published_kwh,
       CASE WHEN count(DISTINCT currency_code) = 1 THEN any_value(currency_code) END AS currency_code
FROM meter_hours
JOIN usage_members AS members ON members.meter_id = meter_hours.meter_id
GROUP BY ALL

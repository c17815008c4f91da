-- Energy per meter and interval of [$starts, $ends). Factors: metering/units.py holds the same, and a test compares.
WITH meters AS (
    SELECT meter_id, site_id, commodity, measure, interval_minutes, capacity_kw,
           to_minutes(interval_minutes) AS step,
           CASE
               WHEN measure = 'power' THEN CASE unit WHEN 'W' THEN 0.001 WHEN 'kW' THEN 1.0 WHEN 'MW' THEN 1000.0 END
               ELSE CASE unit
                   WHEN 'Ws' THEN 1.0 / 3600000 WHEN 'Wh' THEN 0.001 WHEN 'kWh' THEN 1.0 WHEN 'MWh' THEN 1000.0
                   WHEN 'kBtu' THEN 0.29307107 WHEN 'm3' THEN kwh_per_m3 WHEN 'l' THEN kwh_per_m3 / 1000 END
           END AS factor
    FROM metering.meters
    WHERE commodity <> 'water'
),
first_seen AS (
    SELECT meter_id, min(starts_at_utc) AS first_at
    FROM readings.raw
    WHERE starts_at_utc < $ends
    GROUP BY meter_id
),
-- Interval energy and power: repeats of one instant are settled by what was known last, parts of an interval add up
-- (energy) or are averaged (power).
sampled AS (
    SELECT raw.meter_id, time_bucket(meters.step, raw.starts_at_utc) AS starts_at_utc,
           any_value(meters.factor) * CASE
               WHEN any_value(meters.measure) = 'power' THEN avg(raw.value) * any_value(meters.interval_minutes) / 60
               WHEN min(raw.starts_at_utc) = max(raw.starts_at_utc)
                   THEN max_by(raw.value, (raw.available_at_utc, raw.payload_hash))
               ELSE sum(raw.value)
           END AS kwh,
           max(raw.available_at_utc) AS available_at_utc,
           'measured' AS quality,
           CASE WHEN any_value(meters.measure) <> 'power' AND min(raw.starts_at_utc) = max(raw.starts_at_utc)
                     AND min(raw.payload_hash) <> max(raw.payload_hash) THEN 'conflict' END AS reason
    FROM readings.raw AS raw
    JOIN meters ON raw.meter_id = meters.meter_id AND meters.measure <> 'register'
    WHERE raw.starts_at_utc >= $starts AND raw.starts_at_utc < $ends
    GROUP BY ALL
),
register_samples AS (
    SELECT raw.meter_id, raw.starts_at_utc AS read_at, max_by(raw.value, (raw.available_at_utc, raw.payload_hash)) AS value,
           max(raw.available_at_utc) AS available_at_utc
    FROM readings.raw AS raw
    JOIN meters ON raw.meter_id = meters.meter_id AND meters.measure = 'register'
    WHERE raw.starts_at_utc >= $reach_starts AND raw.starts_at_utc <= $reach_ends
    GROUP BY ALL
),
-- A register that shows zero once and then goes on where it was did not reset: the zero is no reading.
register_kept AS (
    SELECT * EXCLUDE (before, after) FROM (
        SELECT *, lag(value) OVER by_time AS before, lead(value) OVER by_time AS after
        FROM register_samples WINDOW by_time AS (PARTITION BY meter_id ORDER BY read_at)
    ) WHERE NOT (value = 0 AND before > 0 AND coalesce(after, before) >= before)
),
register_pairs AS (
    SELECT * FROM (
        SELECT meter_id, lag(read_at) OVER by_time AS from_at, read_at AS to_at, lag(value) OVER by_time AS before,
               value, available_at_utc, pow(10, ceil(log10(greatest(lag(value) OVER by_time, 1)))) AS digits
        FROM register_kept WINDOW by_time AS (PARTITION BY meter_id ORDER BY read_at)
    ) WHERE from_at IS NOT NULL AND to_at > $starts AND from_at < $ends
),
register_deltas AS (
    SELECT pairs.meter_id, from_at, to_at, pairs.available_at_utc, meters.step, meters.factor, meters.interval_minutes,
           CASE WHEN value >= before THEN value - before
                WHEN before > 0.9 * digits AND value < 0.1 * digits THEN digits - before + value
                ELSE greatest(value, 0) END AS delta,
           CASE WHEN value >= before THEN NULL
                WHEN before > 0.9 * digits AND value < 0.1 * digits THEN 'register_rollover'
                ELSE 'register_reset' END AS fault
    FROM register_pairs AS pairs
    JOIN meters ON pairs.meter_id = meters.meter_id
),
register_parts AS (
    SELECT *, unnest(range(
        time_bucket(step, greatest(from_at, $starts)), least(to_at, $ends), step
    )) AS starts_at_utc
    FROM register_deltas
),
register_intervals AS (
    SELECT meter_id, starts_at_utc,
           sum(delta * factor * epoch(least(to_at, starts_at_utc + step) - greatest(from_at, starts_at_utc))
               / epoch(to_at - from_at)) AS kwh,
           max(available_at_utc) AS available_at_utc,
           CASE WHEN bool_or(to_at - from_at > step * 1.5) THEN 'spread' ELSE 'measured' END AS quality,
           coalesce(max(fault), CASE WHEN bool_or(to_at - from_at > step * 1.5) THEN 'register_gap' END) AS reason,
           sum(epoch(least(to_at, starts_at_utc + step) - greatest(from_at, starts_at_utc)))
               / epoch(any_value(step)) AS covered
    FROM register_parts
    GROUP BY ALL
),
found AS (
    SELECT meter_id, starts_at_utc, kwh, available_at_utc, quality, reason FROM sampled
    UNION ALL
    SELECT meter_id, starts_at_utc, kwh, available_at_utc, quality, reason FROM register_intervals WHERE covered > 0.999
),
expected AS (
    SELECT meters.meter_id, meters.site_id, meters.commodity, meters.interval_minutes, meters.step, meters.factor,
           meters.capacity_kw,
           unnest(range(greatest($starts, time_bucket(meters.step, first_seen.first_at)), $ends, meters.step)) AS starts_at_utc
    FROM meters
    JOIN first_seen ON meters.meter_id = first_seen.meter_id
),
dirt AS (
    SELECT unnest($dirt_sites::VARCHAR[]) AS site_id, unnest($dirt_commodities::VARCHAR[]) AS commodity,
           unnest($dirt_starts::TIMESTAMPTZ[]) AS dirt_starts, unnest($dirt_ends::TIMESTAMPTZ[]) AS dirt_ends,
           unnest($dirt_reasons::VARCHAR[]) AS dirt_reason
),
judged AS (
    SELECT expected.meter_id, expected.starts_at_utc, expected.interval_minutes, expected.step, found.kwh,
           found.available_at_utc, found.quality, found.reason,
           CASE
               WHEN found.meter_id IS NULL THEN 'gap'
               WHEN expected.factor IS NULL THEN 'not_convertible'
               WHEN found.kwh < 0 THEN 'negative'
               WHEN found.kwh > 1.2 * expected.capacity_kw * expected.interval_minutes / 60 THEN 'impossible'
               WHEN found.kwh = 0 THEN dirt.dirt_reason
           END AS refused
    FROM expected
    LEFT JOIN found ON found.meter_id = expected.meter_id AND found.starts_at_utc = expected.starts_at_utc
    LEFT JOIN dirt ON dirt.site_id = expected.site_id AND dirt.commodity = expected.commodity
        AND expected.starts_at_utc >= dirt.dirt_starts AND expected.starts_at_utc < dirt.dirt_ends
)
SELECT meter_id, starts_at_utc, interval_minutes, kwh AS reported_kwh,
       CASE WHEN refused IS NULL THEN kwh END AS energy_kwh,
       CASE WHEN refused IS NULL THEN quality ELSE 'missing' END AS quality,
       coalesce(refused, reason) AS reason,
       coalesce(available_at_utc, starts_at_utc + step) AS available_at_utc
FROM judged

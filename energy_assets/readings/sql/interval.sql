-- Energy per meter and interval of [$starts, $ends). Days and instants are microseconds since 1970.
-- Most meter-days are plain: one reading on the grid per interval and nothing odd about any. They pass straight through
-- (`plain`); only the days in `special` are looked at reading by reading. Registers have a path of their own.
WITH units AS (
    SELECT unnest($units::VARCHAR[]) AS unit, unnest($kwh_per_unit::DOUBLE[]) AS kwh,
           unnest($kw_per_unit::DOUBLE[]) AS kw, unnest($m3_per_unit::DOUBLE[]) AS m3
),
meters AS MATERIALIZED (
    SELECT row_number() OVER (ORDER BY meter_id)::INTEGER AS number, *, interval_minutes * 60_000_000 AS step_us,
           interval_minutes * 3_600_000_000 AS part_us, interval_minutes / 60 AS hours,
           -- A grid connection that is metered net may run backwards; consumption and production cannot.
           direction IN ('consumption', 'production') AS is_one_way,
           commodity = 'electricity' AND direction = 'consumption' AS is_never_idle
    FROM metering.meters
    WHERE list_contains($commodities::VARCHAR[], commodity)
      AND ($only::VARCHAR[] IS NULL OR list_contains($only::VARCHAR[], meter_id))
),
scales AS MATERIALIZED (
    SELECT meter_id, unit, measure, number, step_us, part_us, interval_minutes,
           CASE WHEN measure = 'power' THEN kw * hours ELSE coalesce(kwh, m3 * kwh_per_m3) END AS factor
    FROM (SELECT * EXCLUDE (unit) FROM meters) CROSS JOIN units
),
-- Presence and extremes of each meter-day, in parts of 60 intervals so that a part's presence fits one integer.
parts AS MATERIALIZED (
    SELECT scales.number, epoch_us(raw.starts_at_utc) // 86_400_000_000 AS day,
           epoch_us(raw.starts_at_utc) % 86_400_000_000 // scales.part_us AS part,
           bit_or(1::UBIGINT << (epoch_us(raw.starts_at_utc) % scales.part_us // scales.step_us)::UBIGINT) AS present,
           count(*) AS readings, count(*) FILTER (WHERE raw.value = 0) AS zeros,
           max(raw.value * scales.factor) AS most, min(raw.value * scales.factor) AS least,
           bool_or(scales.factor IS NULL OR epoch_us(raw.starts_at_utc) % scales.step_us <> 0) AS is_odd
    FROM readings.raw AS raw
    JOIN scales ON scales.meter_id = raw.meter_id AND scales.unit = raw.unit AND scales.measure = raw.measure
    WHERE scales.measure <> 'register' AND raw.available_at_utc <= $known_by
      AND raw.starts_at_utc >= $history_starts AND raw.starts_at_utc < $day_ends
    GROUP BY ALL
),
meter_days AS MATERIALIZED (
    SELECT parts.number, day, sum(readings) AS readings, sum(bit_count(present)) AS intervals, sum(zeros) AS zeros,
           max(most) AS most, min(least) AS least, bool_or(is_odd) AS is_odd,
           max(most) = min(least) AND max(most) > 0
               AND sum(bit_count(present)) * any_value(meters.step_us) >= 86_400_000_000 AS is_constant
    FROM parts JOIN meters ON meters.number = parts.number
    GROUP BY ALL
),
-- Each meter-day beside the days before it, which alone say what is usual.
days AS MATERIALIZED (
    SELECT *, count(*) OVER before AS days_known, min(most) OVER before AS lowest_peak,
           coalesce(sum(zeros) OVER before / sum(readings) OVER before, 1) AS usual_zero_share,
           count(*) FILTER (WHERE is_constant) OVER before AS constant_days,
           day - 1 - max(day) FILTER (WHERE NOT is_constant) OVER before AS days_since_varied
    FROM meter_days
    WINDOW before AS (PARTITION BY number ORDER BY day RANGE BETWEEN $history_days PRECEDING AND 1 PRECEDING)
),
dirt AS MATERIALIZED (
    SELECT meters.number, epoch_us(known.starts_at) AS from_us, epoch_us(known.ends_at) AS to_us, known.reason
    FROM (
        SELECT unnest($dirt_sites::VARCHAR[]) AS site_id, unnest($dirt_commodities::VARCHAR[]) AS commodity,
               unnest($dirt_starts::TIMESTAMPTZ[]) AS starts_at, unnest($dirt_ends::TIMESTAMPTZ[]) AS ends_at,
               unnest($dirt_reasons::VARCHAR[]) AS reason
    ) AS known
    JOIN meters ON meters.site_id = known.site_id AND meters.commodity = known.commodity
),
-- The usual peak is dear to compute, and wanted only where a peak exceeds even the lowest of the peaks before it.
spiky AS MATERIALIZED (
    SELECT days.number, days.day, quantile_cont(earlier.most, 0.9) * $spike_factor AS spike_kwh
    FROM days
    JOIN meter_days AS earlier ON earlier.number = days.number
        AND earlier.day >= days.day - $history_days AND earlier.day < days.day
    WHERE days.day >= epoch_us($day_starts) // 86_400_000_000 AND days.days_known >= $least_days
      AND days.most > days.lowest_peak * $spike_factor
    GROUP BY ALL
    HAVING spike_kwh > 0
),
suspected AS MATERIALIZED (
    SELECT days.*, meters.meter_id, meters.hours * meters.capacity_kw * $capacity_margin AS possible_kwh, spiky.spike_kwh,
           is_constant AND days_known >= $least_days AND constant_days = days_since_varied AS is_stuck,
           meters.is_never_idle AND zeros > 0 AND days_known >= $least_days
               AND usual_zero_share <= $rare_zero_share AS may_have_zero_run
    FROM days
    JOIN meters ON meters.number = days.number
    LEFT JOIN spiky ON spiky.number = days.number AND spiky.day = days.day
    WHERE days.day >= epoch_us($day_starts) // 86_400_000_000
),
special AS MATERIALIZED (
    SELECT * FROM suspected
    WHERE readings > intervals OR is_odd OR least < 0 OR most > possible_kwh OR most > spike_kwh OR is_stuck
       OR may_have_zero_run OR (zeros > 0 AND number IN (SELECT number FROM dirt))
),
plain AS (
    SELECT raw.meter_id, raw.starts_at_utc, scales.interval_minutes, raw.value * scales.factor AS reported_kwh,
           raw.value * scales.factor AS energy_kwh, 'measured' AS quality, NULL::VARCHAR AS reason, raw.available_at_utc
    FROM readings.raw AS raw
    JOIN scales ON scales.meter_id = raw.meter_id AND scales.unit = raw.unit AND scales.measure = raw.measure
    ANTI JOIN special
        ON special.number = scales.number AND special.day = epoch_us(raw.starts_at_utc) // 86_400_000_000
    WHERE scales.measure <> 'register' AND raw.available_at_utc <= $known_by
      AND raw.starts_at_utc >= $starts AND raw.starts_at_utc < $ends
),
-- One value per instant: what was known last; of what came together, the greater fingerprint.
settled AS MATERIALIZED (
    SELECT scales.number, epoch_us(raw.starts_at_utc) AS at_us,
           max_by(raw.value * coalesce(scales.factor, 'nan'), (raw.available_at_utc, raw.payload_hash)) AS kwh,
           max(raw.available_at_utc) AS available_at_utc, min(raw.payload_hash) <> max(raw.payload_hash) AS is_conflict
    FROM readings.raw AS raw
    JOIN scales ON scales.meter_id = raw.meter_id AND scales.unit = raw.unit AND scales.measure = raw.measure
    SEMI JOIN (
        SELECT meter_id, day FROM special UNION SELECT meter_id, day - 1 FROM special WHERE may_have_zero_run
    ) AS wanted ON wanted.meter_id = raw.meter_id AND wanted.day = epoch_us(raw.starts_at_utc) // 86_400_000_000
    WHERE scales.measure <> 'register' AND raw.available_at_utc <= $known_by
      AND raw.starts_at_utc >= $day_starts::TIMESTAMPTZ - INTERVAL 24 HOURS AND raw.starts_at_utc < $day_ends
    GROUP BY ALL
),
-- A sample of power speaks until the next one within its interval, at most for twice the usual distance between them.
samples AS (
    SELECT settled.*, meters.measure, meters.step_us, at_us // meters.step_us * meters.step_us AS slot_us,
           lead(at_us) OVER slot AS next_us, count(*) OVER whole_slot AS samples
    FROM settled JOIN meters ON meters.number = settled.number
    WINDOW slot AS (PARTITION BY settled.number, at_us // meters.step_us ORDER BY at_us),
           whole_slot AS (PARTITION BY settled.number, at_us // meters.step_us)
),
held AS (
    SELECT *, coalesce(next_us, slot_us + step_us) - at_us AS until_next_us,
           2 * median(next_us - at_us) OVER (PARTITION BY number, slot_us) AS longest_us
    FROM samples
),
slots AS MATERIALIZED (
    SELECT number, slot_us, any_value(measure) AS measure, count(*) AS samples,
           CASE WHEN any_value(measure) = 'power'
                THEN sum(kwh * least(until_next_us, longest_us)) / sum(least(until_next_us, longest_us))
                ELSE sum(kwh) END AS kwh,
           CASE WHEN any_value(measure) = 'power'
                THEN sum(least(until_next_us, longest_us)) / any_value(step_us) ELSE 1 END AS covered,
           max(available_at_utc) AS available_at_utc, bool_or(is_conflict) AS is_conflict
    FROM held
    GROUP BY ALL
),
-- Zeros in a row, as they were known at the end of each day: from the day before at the earliest.
zero_runs AS (
    SELECT number, min(slot_us) AS from_us, max(slot_us) + any_value(step_us) AS to_us
    FROM (
        SELECT slots.number, slot_us, meters.step_us,
               slot_us // meters.step_us - row_number() OVER (PARTITION BY slots.number ORDER BY slot_us) AS run
        FROM slots JOIN meters ON meters.number = slots.number
        WHERE kwh = 0
    )
    GROUP BY number, run
),
zero_days AS (
    SELECT special.number, special.day, list({'from_us': from_us, 'to_us': to_us}) AS runs
    FROM special
    JOIN zero_runs ON zero_runs.number = special.number AND zero_runs.to_us > special.day * 86_400_000_000
         AND zero_runs.from_us < (special.day + 1) * 86_400_000_000
    WHERE special.may_have_zero_run
      AND least(to_us, (special.day + 1) * 86_400_000_000) - greatest(from_us, (special.day - 1) * 86_400_000_000)
          >= $zero_run_us
    GROUP BY ALL
),
examined AS (
    SELECT slots.number, slots.slot_us, CASE WHEN isfinite(slots.kwh) THEN slots.kwh END AS kwh,
           slots.available_at_utc, slots.is_conflict,
           CASE
               WHEN NOT isfinite(slots.kwh) THEN 'not_convertible'
               WHEN slots.measure <> 'power' AND slots.samples > 1 THEN 'several_in_interval'
               WHEN slots.covered < $least_covered THEN 'partial'
               WHEN slots.kwh < 0 AND meters.is_one_way THEN 'negative'
               WHEN slots.kwh > special.possible_kwh THEN 'impossible'
               WHEN slots.kwh > special.spike_kwh THEN 'spike'
               WHEN special.is_stuck THEN 'stuck'
               WHEN slots.kwh = 0 THEN coalesce(
                   (SELECT min(dirt.reason) FROM dirt
                    WHERE dirt.number = slots.number AND slots.slot_us >= dirt.from_us AND slots.slot_us < dirt.to_us),
                   CASE WHEN len(list_filter(
                       zero_days.runs, lambda run: slots.slot_us >= run.from_us AND slots.slot_us < run.to_us
                   )) > 0 THEN 'zero_run' END
               )
           END AS refused
    FROM slots
    JOIN special ON special.number = slots.number AND special.day = slots.slot_us // 86_400_000_000
    JOIN meters ON meters.number = slots.number
    LEFT JOIN zero_days ON zero_days.number = special.number AND zero_days.day = special.day
    WHERE slots.slot_us >= epoch_us($starts) AND slots.slot_us < epoch_us($ends)
),
-- Registers. One value per instant; the neighbourhood that decides about a reading is bounded, so that a day alone is
-- judged as within a year.
register_read AS (
    SELECT scales.number, epoch_us(raw.starts_at_utc) AS at_us,
           max_by({'kwh': raw.value * scales.factor, 'factor': scales.factor}, (raw.available_at_utc, raw.payload_hash))
               AS latest,
           max(raw.available_at_utc) AS available_at_utc
    FROM readings.raw AS raw
    JOIN scales ON scales.meter_id = raw.meter_id AND scales.unit = raw.unit AND scales.measure = raw.measure
    WHERE scales.measure = 'register' AND scales.factor IS NOT NULL AND raw.value >= 0
      AND raw.available_at_utc <= $known_by
      AND raw.starts_at_utc >= $register_starts AND raw.starts_at_utc <= $register_ends
    GROUP BY ALL
),
register_around AS (
    SELECT number, at_us, latest.kwh AS kwh, latest.factor AS factor, available_at_utc,
           max(latest.kwh) OVER (by_time RANGE BETWEEN $blip_us PRECEDING AND 1 PRECEDING) AS highest_before,
           max(latest.kwh) OVER (by_time RANGE BETWEEN 1 FOLLOWING AND $blip_us FOLLOWING) AS highest_after,
           CASE WHEN at_us - lag(at_us) OVER by_time <= $reach_us THEN lag(latest.kwh) OVER by_time END AS before,
           CASE WHEN lead(at_us) OVER by_time - at_us <= $reach_us THEN lead(latest.kwh) OVER by_time END AS after
    FROM register_read
    WINDOW by_time AS (PARTITION BY number ORDER BY at_us)
),
-- A register that falls and is back where it was within hours did not fall, and one that leaps up for one reading, to
-- where it does not come again within hours, did not leap: those are no readings.
register_kept AS (
    SELECT * FROM register_around
    WHERE NOT coalesce(kwh < highest_before AND highest_after >= highest_before, false)
      AND NOT coalesce(kwh < before AND after >= before, false)
      AND NOT coalesce(kwh > after AND after >= before AND kwh > highest_after, false)
),
register_pairs AS (
    SELECT *, (at_us - from_us) / 3_600_000_000 AS hours,
           CASE WHEN kwh >= earlier_kwh THEN (kwh - earlier_kwh) / (at_us - from_us) * 3_600_000_000 END AS rate_kw
    FROM (
        SELECT number, lag(at_us) OVER by_time AS from_us, at_us, lag(kwh) OVER by_time AS earlier_kwh, kwh, factor,
               available_at_utc
        FROM register_kept
        WINDOW by_time AS (PARTITION BY number ORDER BY at_us)
    )
    WHERE at_us - from_us <= $reach_us
),
-- What the meter usually draws: the median over two weeks around of each day's high rate, which no single leap moves.
register_usual AS (
    SELECT number, day, median(high_kw) OVER (
               PARTITION BY number ORDER BY day RANGE BETWEEN $around_days PRECEDING AND $around_days FOLLOWING
           ) AS usual_kw
    FROM (
        SELECT number, at_us // 86_400_000_000 AS day, quantile_cont(rate_kw, 0.95) AS high_kw
        FROM register_pairs
        GROUP BY ALL
    )
),
register_judged AS (
    SELECT pairs.*, meters.step_us,
           coalesce(meters.capacity_kw * $capacity_margin, greatest($least_jump_kw, $jump_factor * usual_kw))
               AS possible_kw,
           -- A display of whole decades or a 32 bit counter runs over from its last hundredth to its first.
           CASE WHEN earlier_kwh / factor >= 4_252_017_623 AND earlier_kwh / factor < 4_294_967_296
                THEN 4_294_967_296
                ELSE pow(10, greatest(4, floor(log10(greatest(earlier_kwh / factor, 1))) + 1)) END * factor AS modulus_kwh
    FROM register_pairs AS pairs
    JOIN meters ON meters.number = pairs.number
    JOIN register_usual ON register_usual.number = pairs.number
        AND register_usual.day = pairs.at_us // 86_400_000_000
    WHERE pairs.at_us > epoch_us($starts) AND pairs.from_us < epoch_us($ends)
),
register_named AS (
    SELECT *,
           CASE
               WHEN rate_kw <= possible_kw THEN NULL
               WHEN rate_kw IS NOT NULL THEN 'register_jump'
               WHEN earlier_kwh >= 0.99 * modulus_kwh AND kwh <= 0.01 * modulus_kwh
                    AND modulus_kwh - earlier_kwh + kwh <= possible_kw * hours THEN 'register_rollover'
               WHEN kwh <= possible_kw * hours THEN 'register_reset'
               ELSE 'register_exchange'
           END AS event
    FROM register_judged
),
register_parts AS (
    SELECT number, at_us - from_us AS length_us, available_at_utc, event, step_us, from_us, at_us,
           CASE event WHEN 'register_jump' THEN NULL WHEN 'register_exchange' THEN NULL
                      WHEN 'register_rollover' THEN modulus_kwh - earlier_kwh + kwh
                      WHEN 'register_reset' THEN kwh ELSE kwh - earlier_kwh END AS kwh,
           unnest(range(
               greatest(from_us // step_us * step_us, epoch_us($starts) // step_us * step_us),
               least(at_us, epoch_us($ends)), step_us
           )) AS slot_us
    FROM register_named
),
register_slots AS (
    SELECT number, slot_us, sum(kwh * overlap_us / length_us) AS kwh, max(available_at_utc) AS available_at_utc,
           bool_or(kwh IS NULL) AS is_unknown, sum(overlap_us) < any_value(step_us) AS is_partial,
           bool_or(length_us > 1.5 * step_us) AS is_spread, max(event) AS event
    FROM (SELECT *, least(at_us, slot_us + step_us) - greatest(from_us, slot_us) AS overlap_us FROM register_parts)
    GROUP BY ALL
),
register_examined AS (
    SELECT register_slots.*,
           CASE WHEN is_unknown THEN event
                WHEN is_partial THEN 'partial'
                WHEN kwh > meters.hours * meters.capacity_kw * $capacity_margin THEN 'impossible' END AS refused
    FROM register_slots JOIN meters ON meters.number = register_slots.number
    WHERE slot_us >= epoch_us($starts) AND slot_us < epoch_us($ends)
),
-- Intervals that a meter owes: from its first reading (and its declared span of service) to the window's end.
first_seen AS MATERIALIZED (
    SELECT meter_id, min(starts_at_utc) AS first_at
    FROM readings.raw
    WHERE starts_at_utc < $ends AND available_at_utc <= $known_by
    GROUP BY meter_id
),
owing AS (
    SELECT number, measure, step_us, part_us,
           greatest(epoch_us($starts), epoch_us(first_at) // step_us * step_us,
                    coalesce(epoch_us(valid_from_utc) // step_us * step_us, 0)) AS from_us,
           least(epoch_us($ends), epoch_us($known_by), coalesce(epoch_us(valid_to_utc), epoch_us($ends))) AS to_us
    FROM meters JOIN first_seen ON first_seen.meter_id = meters.meter_id
),
owed_parts AS (
    SELECT number, measure, step_us, part_us, from_us, to_us, day,
           unnest(range(day * 86_400_000_000, (day + 1) * 86_400_000_000, part_us)) AS part_starts_us
    FROM (
        SELECT *, unnest(range(from_us // 86_400_000_000, (to_us + 86_399_999_999) // 86_400_000_000)) AS day FROM owing
    )
),
gaps AS (
    SELECT number, slot_us
    FROM (
        SELECT owed.number, owed.from_us, owed.to_us, owed.step_us, present,
               unnest(range(
                   part_starts_us, least(part_starts_us + owed.part_us, (owed.day + 1) * 86_400_000_000), owed.step_us
               )) AS slot_us,
               owed.part_us
        FROM owed_parts AS owed
        LEFT JOIN parts ON parts.number = owed.number AND parts.day = owed.day
            AND parts.part = part_starts_us % 86_400_000_000 // owed.part_us
        WHERE owed.measure <> 'register'
          AND (present IS NULL OR bit_count(present) * owed.step_us < least(owed.part_us, 86_400_000_000))
    )
    WHERE slot_us >= from_us AND slot_us + step_us <= to_us
      AND coalesce(present, 0::UBIGINT) & (1::UBIGINT << (slot_us % part_us // step_us)::UBIGINT) = 0
    UNION ALL
    SELECT number, slot_us
    FROM (SELECT number, step_us, to_us, unnest(range(from_us, to_us, step_us)) AS slot_us
          FROM owing WHERE measure = 'register') AS owed
    ANTI JOIN register_slots ON register_slots.number = owed.number AND register_slots.slot_us = owed.slot_us
    WHERE owed.slot_us + owed.step_us <= owed.to_us
),
odd AS (
    SELECT number, slot_us, kwh, CASE WHEN refused IS NULL THEN kwh END AS energy_kwh,
           CASE WHEN refused IS NULL THEN 'measured' ELSE 'missing' END AS quality,
           coalesce(refused, CASE WHEN is_conflict THEN 'conflict' END) AS reason, available_at_utc
    FROM examined
    UNION ALL
    SELECT number, slot_us, kwh, CASE WHEN refused IS NULL THEN kwh END,
           CASE WHEN refused IS NOT NULL THEN 'missing' WHEN event = 'register_reset' THEN 'estimated'
                WHEN is_spread THEN 'spread' ELSE 'measured' END,
           coalesce(refused, event, CASE WHEN is_spread THEN 'spread' END), available_at_utc
    FROM register_examined
    UNION ALL
    SELECT number, slot_us, NULL, NULL, 'missing', 'gap', NULL FROM gaps
)
SELECT meter_id, starts_at_utc, interval_minutes, reported_kwh, energy_kwh, quality, reason, available_at_utc FROM plain
UNION ALL
SELECT meters.meter_id, make_timestamptz(odd.slot_us), meters.interval_minutes, odd.kwh, odd.energy_kwh, odd.quality,
       odd.reason, coalesce(odd.available_at_utc, make_timestamptz(odd.slot_us + meters.step_us))
FROM odd JOIN meters ON meters.number = odd.number

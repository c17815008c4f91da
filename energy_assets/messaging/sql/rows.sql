-- Cells judged: what is no reading has its reason. What is not JSON is refused once, and not by every rule of its topic.
typed AS (
    SELECT cells.*, rules.* EXCLUDE (rule),
           CASE WHEN nulls IS NOT NULL AND contains(nulls, chr(31) || value_text || chr(31)) THEN NULL ELSE value_text END AS number_text,
           try_cast(value_text AS DOUBLE) * factor AS signed,
           time_at IS NULL OR (is_timeless AND time_text IS NULL) AS is_at_arrival,
           CASE WHEN time_at IS NULL OR (is_timeless AND time_text IS NULL) THEN at_utc
                WHEN format = 'unix_s' THEN make_timestamptz(try_cast(try_cast(time_text AS DOUBLE) * 1e6 AS BIGINT))
                WHEN format = 'unix_ms' THEN make_timestamptz(try_cast(try_cast(time_text AS DOUBLE) * 1e3 AS BIGINT))
                WHEN suffix(time_text, 'Z') OR (substring(time_text, -6, 1) IN ('+', '-') AND substring(time_text, -3, 1) = ':')
                THEN try_cast(time_text AS TIMESTAMPTZ)
                WHEN contains(time_text, ':') AND regexp_matches(time_text, '[0-9][+-][0-9]{2}([0-9]{2})?$')
                THEN try_cast(regexp_replace(time_text, '([+-][0-9]{2})([0-9]{2})$', '\1:\2') AS TIMESTAMPTZ)
                ELSE timezone($zone, try_cast(time_text AS TIMESTAMP)) END AS instant_utc
    FROM cells
    JOIN temp.staged_rules AS rules ON rules.rule = cells.rule
    WHERE is_json OR is_text OR is_first OR is_ignored
),
-- Times outside these bounds are faults of a clock or a format; see readings.instants.
valued AS (
    SELECT *, CASE WHEN part = 'all' OR signed IS NULL OR NOT isfinite(signed) THEN signed
                   WHEN part = 'positive' THEN greatest(signed, 0) ELSE greatest(-signed, 0) END AS number,
           CASE WHEN has_fields
                THEN replace(replace(meter, '{index}', coalesce(position, 1)::VARCHAR), '{id}', coalesce(id, ''))
                ELSE meter END AS named,
           CASE WHEN instant_utc >= TIMESTAMPTZ '1970-01-03 00:00:00+00'
                 AND instant_utc < TIMESTAMPTZ '2200-01-01 00:00:00+00' THEN instant_utc END AS plausible_utc
    FROM typed
),
judged AS (
    SELECT *,
           CASE WHEN NOT is_json AND NOT is_text AND NOT is_ignored THEN NULL
                WHEN where_at IS NOT NULL AND where_text IS DISTINCT FROM equals AND fault IS NULL
                THEN CASE WHEN is_left_ignored THEN 'ignored' ELSE 'unfit' END
                WHEN is_ignored THEN 'ignored'
                WHEN retained AND rules_retained = 'ignore' THEN 'ignored'
                WHEN number_text IS NULL AND fault IS NULL AND absent = 'ignore' THEN 'ignored' END AS vanishes,
           CASE WHEN NOT is_json AND NOT is_text THEN 'not_json'
                WHEN fault IS NOT NULL THEN fault
                WHEN number_text IS NULL THEN 'missing_value'
                WHEN id_at IS NOT NULL AND id IS NULL THEN 'missing_id'
                WHEN number IS NULL THEN 'unreadable_number'
                WHEN NOT isfinite(number) THEN 'not_finite'
                WHEN is_at_arrival AND at_utc IS NULL THEN 'no_arrival_time'
                WHEN plausible_utc IS NULL THEN 'unreadable_time' END AS refused
    FROM valued
)
SELECT batch, line_number, rule, nullif(position, 0) AS position,
       CASE WHEN refused IS NULL AND vanishes IS NULL THEN named END AS meter_id, plausible_utc AS starts_at_utc,
       CASE WHEN isfinite(number) THEN number END AS value,
       CASE WHEN refused IS NULL AND vanishes IS NULL THEN hash(number, unit, measure) END AS payload_hash,
       CASE WHEN vanishes IS NULL THEN refused END AS reason, vanishes AS gone, retained AND is_at_arrival AS is_undated,
       false AS is_repeat, arrived_at_utc
FROM judged

-- Messages by the rules of a mapping: each gives one row or more, a reading or a refusal with its reason. Topics are
-- matched once each. A redelivered message without a clock of its own takes the arrival of its first copy, when that
-- came within the minute before.
WITH rules AS MATERIALIZED (
    SELECT unnest($rules::INTEGER[]) AS rule, unnest($patterns::VARCHAR[]) AS pattern,
           unnest($meters::VARCHAR[]) AS template, unnest($value_::VARCHAR[]) AS value_path,
           unnest($each_::VARCHAR[]) AS each_path, unnest($id_::VARCHAR[]) AS id_path,
           unnest($time_::VARCHAR[]) AS time_path, unnest($format_::VARCHAR[]) AS format,
           unnest($where_::VARCHAR[]) AS where_path, unnest($equals_::VARCHAR[]) AS equals,
           unnest($sign_::DOUBLE[]) AS sign, unnest($absent_::VARCHAR[]) AS absent,
           unnest($retained_::VARCHAR[]) AS retained_rule, unnest($unit_::VARCHAR[]) AS unit,
           unnest($measure_::VARCHAR[]) AS measure, unnest($interval_minutes_::BIGINT[]) AS interval_minutes
),
topics AS MATERIALIZED (
    SELECT topic, rules.*, regexp_replace(topic, pattern, template) AS meter,
           min(rule) OVER (PARTITION BY topic) AS first_rule
    FROM (SELECT DISTINCT topic FROM temp.incoming_messages) JOIN rules ON regexp_matches(topic, pattern)
),
messages AS MATERIALIZED (
    SELECT *, CASE WHEN encoding IS NULL AND json_valid(payload) THEN payload::JSON END AS document
    FROM temp.incoming_messages
),
first_copies AS MATERIALIZED (
    SELECT again.batch_id, again.sequence, max(once.arrived_at_utc) AS arrived_at_utc
    FROM (SELECT * FROM temp.incoming_messages WHERE duplicate) AS again
    JOIN temp.incoming_messages AS once ON once.topic = again.topic AND once.payload = again.payload
        AND NOT once.duplicate AND once.arrived_at_utc <= again.arrived_at_utc
        AND once.arrived_at_utc > again.arrived_at_utc - INTERVAL 1 MINUTE
    GROUP BY ALL
),
records AS (
    SELECT messages.* EXCLUDE (payload), topics.* EXCLUDE (topic),
           unnest(CASE WHEN document IS NULL OR each_path IS NULL THEN [document]
                       WHEN json_type(document, each_path) = 'ARRAY' THEN json_extract(document, each_path)::JSON[]
                       ELSE [NULL::JSON] END) AS record
    FROM messages JOIN topics ON topics.topic = messages.topic
),
found AS (
    SELECT *, json_extract(record, value_path) AS found_value, json_extract(record, time_path) AS found_time,
           json_extract_string(record, id_path) AS id
    FROM records
    WHERE document IS NULL OR where_path IS NULL OR json_extract_string(record, where_path) = equals
),
listed AS (
    SELECT *, CASE WHEN json_type(found_value) = 'ARRAY' THEN found_value::JSON[] ELSE [found_value] END AS cells,
           CASE WHEN json_type(found_time) = 'ARRAY' THEN found_time::JSON[] END AS stamps
    FROM found
),
exploded AS (
    SELECT *, unnest(range(1, greatest(len(cells), coalesce(len(stamps), 0)) + 1)) AS index FROM listed
),
read AS (
    SELECT *, json_extract_string(cells[index], '$') AS number_text,
           json_extract_string(CASE WHEN stamps IS NULL THEN found_time ELSE stamps[index] END, '$') AS time_text
    FROM exploded
),
typed AS (
    SELECT read.*, try_cast(number_text AS DOUBLE) * sign AS number,
           CASE WHEN time_path IS NULL THEN coalesce(first_copies.arrived_at_utc, read.arrived_at_utc)
                WHEN format = 'unix_s' THEN make_timestamptz(try_cast(try_cast(time_text AS DOUBLE) * 1e6 AS BIGINT))
                WHEN format = 'unix_ms' THEN make_timestamptz(try_cast(try_cast(time_text AS DOUBLE) * 1e3 AS BIGINT))
                WHEN regexp_matches(time_text, '[0-9](Z|[+-][0-9]{2}(:?[0-9]{2})?)$') AND time_text LIKE '%:%'
                THEN try_cast(regexp_replace(time_text, '([+-][0-9]{2})([0-9]{2})$', '\1:\2') AS TIMESTAMPTZ)
                ELSE timezone($zone, try_cast(time_text AS TIMESTAMP)) END AS starts_at_utc
    FROM read
    LEFT JOIN first_copies ON first_copies.batch_id = read.batch_id AND first_copies.sequence = read.sequence
),
-- Times outside these bounds are faults of a clock or a format; see readings.instants.
timed AS (
    SELECT *, CASE WHEN starts_at_utc >= TIMESTAMPTZ '1970-01-03 00:00:00+00'
                    AND starts_at_utc < TIMESTAMPTZ '2200-01-01 00:00:00+00' THEN starts_at_utc END AS plausible_at_utc
    FROM typed
),
judged AS (
    SELECT batch_id, sequence, rule, first_rule, index, plausible_at_utc AS starts_at_utc, number, unit, measure, interval_minutes, arrived_at_utc,
           replace(replace(meter, '{index}', index::VARCHAR), '{id}', coalesce(id, '')) AS meter_id,
           CASE WHEN document IS NULL THEN 'not_json'
                WHEN retained AND retained_rule = 'skip' THEN 'retained'
                WHEN number_text IS NULL OR (id_path IS NOT NULL AND id IS NULL) THEN 'missing_value'
                WHEN number IS NULL THEN 'unreadable_number'
                WHEN NOT isfinite(number) THEN 'not_finite'
                WHEN plausible_at_utc IS NULL THEN 'unreadable_time' END AS reason
    FROM timed
    WHERE document IS NULL OR number_text IS NOT NULL OR absent = 'refuse'
),
-- What is not JSON is refused once, and not by every rule of its topic.
kept AS (
    SELECT * FROM judged
    WHERE reason IS DISTINCT FROM 'not_json' OR rule = first_rule
)
SELECT row_number() OVER (PARTITION BY messages.batch_id ORDER BY messages.sequence, rule, index) AS line_number,
       CASE WHEN kept.reason IS NULL THEN meter_id END AS meter_id,
       starts_at_utc, number AS value, unit, measure,
       interval_minutes, coalesce(reason, CASE WHEN kept.batch_id IS NULL THEN 'no_mapping' END) AS reason,
       CASE WHEN reason IS NOT NULL OR kept.batch_id IS NULL
            THEN json_object('topic', topic, 'payload', payload, 'encoding', encoding)::VARCHAR END AS payload,
       topic, rule, messages.arrived_at_utc AS available_at_utc, messages.batch_id
FROM messages
LEFT JOIN kept ON kept.batch_id = messages.batch_id AND kept.sequence = messages.sequence

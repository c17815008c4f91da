-- Each line with the reason for which it cannot become a reading, if there is one; the payload is kept only then.
INSERT INTO temp.staged_lines
WITH split AS (
    SELECT line_number, line, list_transform(string_split(line, ','), lambda field: trim(field, ' "')) AS fields
    FROM incoming_lines
    WHERE trim(line) <> ''
),
read AS (
    SELECT
        line_number,
        line,
        len(fields) AS field_count,
        TRY_CAST(fields[$building_at] AS INTEGER) AS building_id,
        TRY_CAST(fields[$meter_at] AS INTEGER) AS meter,
        TRY_CAST(fields[$timestamp_at] AS TIMESTAMP) AS local_at,
        fields[$reading_at] AS reading,
        TRY_CAST(fields[$reading_at] AS DOUBLE) AS value
    FROM split
),
keyed AS (
    SELECT
        *,
        building_id * 4_294_967_296 + meter AS meter_key,
        local_at >= TIMESTAMP '1970-01-03' AND local_at < TIMESTAMP '2200-01-01' AS has_time
    FROM read
),
judged AS (
    SELECT
        keyed.line_number,
        keyed.meter_key,
        CASE WHEN keyed.has_time THEN keyed.local_at END AS local_at,
        keyed.value,
        meters.offset_us,
        CASE
            WHEN keyed.field_count <> $field_count THEN 'malformed_line'
            WHEN keyed.building_id IS NULL THEN 'unreadable_building'
            WHEN keyed.meter IS NULL THEN 'unreadable_meter_code'
            WHEN NOT coalesce(keyed.has_time, false) THEN 'unreadable_time'
            WHEN coalesce(keyed.reading, '') = '' THEN 'missing_value'
            WHEN keyed.value IS NULL THEN 'unreadable_number'
            WHEN keyed.building_id NOT IN (SELECT meter_key // 4_294_967_296 FROM temp.staged_meters) THEN 'unknown_building'
            WHEN meters.meter_key IS NULL THEN 'unknown_meter_code'
            WHEN meters.offset_us IS NULL THEN 'unknown_site'
            WHEN NOT isfinite(keyed.value) THEN 'not_finite'
        END AS reason,
        keyed.line
    FROM keyed
    LEFT JOIN temp.staged_meters AS meters USING (meter_key)
)
SELECT
    line_number, meter_key, local_at, value, offset_us, reason, CASE WHEN reason IS NOT NULL THEN line END AS payload
FROM judged

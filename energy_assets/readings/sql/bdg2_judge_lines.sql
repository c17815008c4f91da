-- Each cell with the reason for which it cannot become a reading, if there is one. A line without a readable time, or
-- with too few or too many fields, is refused as one row.
INSERT INTO temp.staged_lines
WITH split AS (
    SELECT line_number, line, list_transform(string_split(line, ','), lambda field: trim(field, ' "')) AS fields
    FROM incoming_lines
    WHERE trim(line) <> ''
),
timed AS (
    SELECT
        *,
        CASE
            WHEN TRY_CAST(fields[$timestamp_at] AS TIMESTAMP) >= TIMESTAMP '1970-01-03'
             AND TRY_CAST(fields[$timestamp_at] AS TIMESTAMP) < TIMESTAMP '2200-01-01'
            THEN TRY_CAST(fields[$timestamp_at] AS TIMESTAMP)
        END AS local_at,
        len(fields) = $field_count AS is_whole
    FROM split
),
cells AS (
    SELECT
        timed.line_number,
        columns.column_name,
        columns.meter_key,
        timed.local_at,
        timed.fields[columns.position] AS reading,
        TRY_CAST(timed.fields[columns.position] AS DOUBLE) AS value,
        meters.offset_us
    FROM timed
    CROSS JOIN temp.staged_columns AS columns
    LEFT JOIN temp.staged_meters AS meters USING (meter_key)
    WHERE timed.is_whole
      AND timed.local_at IS NOT NULL
      AND timed.fields[columns.position] NOT IN ('', 'NA', 'NaN', 'nan')
),
judged AS (
    SELECT
        *,
        CASE
            WHEN meter_key IS NULL OR offset_us IS NULL THEN 'unknown_building'
            WHEN value IS NULL THEN 'unreadable_number'
            WHEN NOT isfinite(value) THEN 'not_finite'
        END AS reason
    FROM cells
)
SELECT
    line_number,
    meter_key,
    local_at,
    value,
    offset_us,
    reason,
    CASE WHEN reason IS NOT NULL THEN concat_ws(',', local_at, column_name, reading) END AS payload
FROM judged
UNION ALL
SELECT
    line_number, NULL, NULL, NULL, NULL, CASE WHEN is_whole THEN 'unreadable_time' ELSE 'malformed_line' END, line
FROM timed
WHERE NOT is_whole OR local_at IS NULL

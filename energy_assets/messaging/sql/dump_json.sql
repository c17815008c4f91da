-- Lines of JSON as messages: those of our own segments, of `mosquitto_sub -F %j` and %J, and of whoever writes topic,
-- payload and a time of arrival. A payload that is no text in the line is JSON itself.
WITH parsed AS (
    SELECT *, CASE WHEN json_valid(line) AND json_type(line) = 'OBJECT' THEN line::JSON END AS document FROM incoming_lines
),
found AS (
    SELECT *, json_type(document, '$.payload') AS kind, json_extract_string(document, [
               '$.topic', '$.payload', '$.arrived_at_utc', '$.tst', '$.timestamp', '$.time', '$.ts', '$.retained',
               '$.retain', '$.duplicate', '$.dup', '$.packet_id', '$.mid', '$.encoding'
           ]) AS fields
    FROM parsed
),
timed AS (
    SELECT *, coalesce(fields[3], fields[4], fields[5], fields[6], fields[7]) AS time_text FROM found
),
arrived AS (
    SELECT *, try_cast(time_text AS DOUBLE) AS seconds,
           try_cast(regexp_replace(time_text, '([+-][0-9]{2})([0-9]{2})$', '\1:\2') AS TIMESTAMPTZ) AS stamp
    FROM timed
),
read AS (
    SELECT *, CASE WHEN seconds IS NOT NULL
                   THEN make_timestamptz(try_cast(seconds * CASE WHEN abs(seconds) < 1e11 THEN 1e6 ELSE 1e3 END AS BIGINT))
                   ELSE stamp END AS at_utc
    FROM arrived
)
SELECT line_number, CASE WHEN fields[12] IS NOT NULL THEN try_cast(fields[12] AS USMALLINT)
                         ELSE nullif(try_cast(fields[13] AS USMALLINT), 0) END AS packet_id,
       at_utc AS arrived_at_utc, at_utc, coalesce(fields[8], fields[9], '') IN ('true', '1') AS retained,
       coalesce(fields[10], fields[11], '') IN ('true', '1') AS duplicate,
       CASE WHEN kind IS NOT NULL THEN fields[1] END AS topic,
       CASE WHEN kind IS NULL OR fields[1] IS NULL THEN line WHEN kind = 'NULL' THEN 'null' ELSE fields[2] END AS payload,
       CASE WHEN NOT is_text THEN 'backslashes' ELSE fields[14] END AS encoding,
       CASE WHEN kind IS NULL OR fields[1] IS NULL THEN 'bad_line' END AS fault
FROM read

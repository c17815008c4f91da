-- The fast reading of a wide file: one cell a row; empty cells are absent. Cells that cannot be read are left without a
-- value, lines that do not fit are left out: both are missed afterwards.
CREATE OR REPLACE TEMP TABLE staged_file AS
SELECT
    columns.meter_key,
    TRY_CAST(cells."timestamp" AS TIMESTAMP) AS local_at,
    TRY_CAST(cells.reading AS DOUBLE) AS value
FROM (
    UNPIVOT (
        FROM read_csv(
            $path,
            header = true,
            all_varchar = true,
            delim = ',',
            quote = '"',
            escape = '"',
            nullstr = ['', 'NA', 'NaN', 'nan'],
            ignore_errors = true,
            max_line_size = 8_000_000
        )
    )
    ON COLUMNS(* EXCLUDE ("timestamp")) INTO NAME column_name VALUE reading
) AS cells
LEFT JOIN temp.staged_columns AS columns USING (column_name)

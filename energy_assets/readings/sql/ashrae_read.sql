-- The fast reading of a train.csv whose header is the usual one. Lines that do not fit are left out, and missed by the
-- count of lines afterwards.
CREATE OR REPLACE TEMP TABLE staged_cells AS
SELECT building_id * 4_294_967_296 + meter AS meter_key, "timestamp" AS local_at, meter_reading AS value
FROM read_csv(
    $path,
    header = true,
    auto_detect = false,
    delim = ',',
    quote = '"',
    escape = '"',
    ignore_errors = true,
    columns = {'building_id': 'INTEGER', 'meter': 'INTEGER', 'timestamp': 'TIMESTAMP', 'meter_reading': 'DOUBLE'}
)

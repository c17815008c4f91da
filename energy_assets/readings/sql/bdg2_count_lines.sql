-- Lines that the fast reading can read.
SELECT count("timestamp")
FROM read_csv(
    $path,
    header = true,
    all_varchar = true,
    delim = ',',
    quote = '"',
    escape = '"',
    ignore_errors = true,
    max_line_size = 8_000_000
)

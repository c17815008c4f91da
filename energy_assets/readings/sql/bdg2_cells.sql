INSERT INTO temp.staged_cells SELECT meter_key, local_at, value FROM temp.staged_file

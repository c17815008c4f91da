DELETE FROM temp.staged_rows WHERE gone IS NOT NULL

DELETE FROM temp.staged_cells WHERE rowid IN (SELECT cell FROM temp.staged_repeats)

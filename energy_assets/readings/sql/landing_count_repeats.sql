SELECT count(*) FROM temp.staged_repeats

-- Days of meters with a cell that cannot become a reading: no meter, no plausible time, or no finite value.
SELECT count(*) FROM temp.staged_days WHERE is_faulty

-- Cells that cannot become readings: no meter, no plausible time, or no finite value.
SELECT sum(faults) FROM temp.staged_days

SELECT count(*) FROM temp.staged_cells

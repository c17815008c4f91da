DROP TABLE temp.staged_lines

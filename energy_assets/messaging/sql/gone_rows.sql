-- A message of which no rule wanted anything is ignored on purpose, or fits no rule.
INSERT INTO temp.staged_rows BY NAME
SELECT batch, line_number, CASE WHEN NOT is_ignored THEN 'no_rule_fits' END AS reason,
       CASE WHEN is_ignored THEN 'ignored' END AS gone, false AS is_undated, false AS is_repeat
FROM temp.staged_gone AS gone
ANTI JOIN temp.staged_rows AS kept ON kept.batch = gone.batch AND kept.line_number = gone.line_number

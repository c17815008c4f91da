-- A message of which nothing is left to say is ignored: its mapping does not refuse anything of it any more.
INSERT INTO temp.staged_rows BY NAME
SELECT batch, line_number, 'ignored' AS gone, false AS is_undated, false AS is_repeat
FROM temp.incoming_messages AS messages
ANTI JOIN temp.staged_rows AS staged ON staged.batch = messages.batch AND staged.line_number = messages.line_number

INSERT INTO temp.staged_rows BY NAME SELECT * FROM incoming_rows

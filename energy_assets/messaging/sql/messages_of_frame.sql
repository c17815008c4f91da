INSERT INTO temp.incoming_messages BY NAME SELECT * FROM incoming_rows

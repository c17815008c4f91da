-- First and last local hour that test.csv asks for.
SELECT min("timestamp") AS first_local, max("timestamp") AS last_local
FROM read_csv($path, header = true, columns = {
    'row_id': 'BIGINT', 'building_id': 'INTEGER', 'meter': 'INTEGER', 'timestamp': 'TIMESTAMP'
})

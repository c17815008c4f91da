-- Messages that wait for their mapping; none yet. `at_utc` is the arrival, of a redelivery that of its first copy.
CREATE OR REPLACE TEMP TABLE incoming_messages (
    batch INTEGER, line_number BIGINT, packet_id USMALLINT, arrived_at_utc TIMESTAMPTZ, at_utc TIMESTAMPTZ,
    retained BOOLEAN, duplicate BOOLEAN, topic VARCHAR, payload VARCHAR, encoding VARCHAR, fault VARCHAR
)

-- The meters that cells may belong to, with what turns a cell into a reading.
CREATE OR REPLACE TEMP TABLE staged_meters AS
SELECT meter_key, meter_id, unit, offset_us, batch_id
FROM incoming_meters

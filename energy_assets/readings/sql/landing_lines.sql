-- Lines that await judgement.
CREATE OR REPLACE TEMP TABLE staged_lines (
    line_number BIGINT, meter_key BIGINT, local_at TIMESTAMP, value DOUBLE, offset_us BIGINT, reason VARCHAR, payload VARCHAR
)

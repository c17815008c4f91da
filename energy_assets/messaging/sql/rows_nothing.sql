-- Judged rows of all messages; none yet. `gone`: the rule found nothing that it means (unfit), or ignores it.
CREATE OR REPLACE TEMP TABLE staged_rows (
    batch INTEGER, line_number BIGINT, rule INTEGER, position BIGINT, meter_id VARCHAR, starts_at_utc TIMESTAMPTZ,
    value DOUBLE, payload_hash UBIGINT, reason VARCHAR, gone VARCHAR, is_undated BOOLEAN, is_repeat BOOLEAN,
    arrived_at_utc TIMESTAMPTZ
)

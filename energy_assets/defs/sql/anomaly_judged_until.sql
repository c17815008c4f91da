-- The newest judged day: one without a single flag counts too.
SELECT greatest((SELECT max(starts_at_utc) FROM anomalies.flags), (SELECT max(starts_at_utc) FROM anomalies.days)) AS newest

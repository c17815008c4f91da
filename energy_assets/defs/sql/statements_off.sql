-- Standing statements of periods from $since on that are not the sum of their settled days, or of their own parts.
WITH standing AS (
    SELECT * FROM settlement.statements
    WHERE period_start >= $since
    QUALIFY revision = max(revision) OVER (PARTITION BY premise_id, period_start)
),
summed AS (
    SELECT premise_id, date_trunc('month', local_date)::DATE AS period_start, count(*) AS days, sum(slots) AS slots,
           sum(import_wh) AS import_wh, sum(export_wh) AS export_wh, sum(baseline_wh) AS baseline_wh,
           sum(baseline_amount + deviation_amount - feed_in_credit - community_credit) AS energy_amount,
           sum(flat_amount) AS flat_energy
    FROM settlement.days
    WHERE local_date >= $since
    GROUP BY ALL
)
SELECT premise_id, period_start, standing.revision, standing.total_amount,
       summed.energy_amount + standing.fixed_amount + standing.peak_amount AS days_amount
FROM standing LEFT JOIN summed USING (premise_id, period_start)
WHERE summed.days IS DISTINCT FROM standing.days OR summed.slots IS DISTINCT FROM standing.slots
   OR summed.import_wh IS DISTINCT FROM standing.import_wh OR summed.export_wh IS DISTINCT FROM standing.export_wh
   OR summed.baseline_wh IS DISTINCT FROM standing.baseline_wh
   OR summed.energy_amount + standing.fixed_amount + standing.peak_amount IS DISTINCT FROM standing.total_amount
   OR summed.flat_energy + standing.fixed_amount + standing.peak_amount IS DISTINCT FROM standing.flat_amount
   OR standing.flat_amount - standing.total_amount IS DISTINCT FROM standing.saved_amount
   OR standing.baseline_amount + standing.deviation_amount + standing.fixed_amount + standing.peak_amount
      - standing.feed_in_credit - standing.community_credit IS DISTINCT FROM standing.total_amount
ORDER BY premise_id, period_start

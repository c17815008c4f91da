-- How many zones and days break each law of settlement; the window is of the starts of local days.
WITH paid AS (
    SELECT zone_id, local_date, count(*) AS paying, sum(grid_amount + local_amount) AS paid_amount,
           sum(local_amount) AS between_members, sum(import_wh) AS drawn_wh, sum(export_wh) AS fed_wh,
           sum(local_wh) AS traded_wh, min(community_credit) AS least_credit,
           max(abs(baseline_amount + deviation_amount + baseline_credit - feed_in_credit - community_credit
                   - grid_amount - local_amount)) AS parts_off
    FROM settlement.days
    WHERE starts_at_utc >= $starts AND starts_at_utc < $ends
    GROUP BY ALL
),
pooled AS (
    SELECT * FROM settlement.pools WHERE starts_at_utc >= $starts AND starts_at_utc < $ends
)
SELECT count(*) AS zone_days,
       count(*) FILTER (WHERE paid_amount IS DISTINCT FROM grid_amount) AS payments_sum_to_the_grid_bill,
       count(*) FILTER (WHERE between_members IS DISTINCT FROM 0) AS credits_sum_to_zero_around_it,
       count(*) FILTER (WHERE least_credit < 0) AS nobody_pays_more_than_alone,
       count(*) FILTER (WHERE parts_off <> 0) AS parts_sum_to_what_is_paid,
       count(*) FILTER (
           WHERE drawn_wh IS DISTINCT FROM import_wh OR fed_wh IS DISTINCT FROM export_wh
              OR traded_wh IS DISTINCT FROM local_wh OR paying IS DISTINCT FROM members
              OR import_wh - export_wh IS DISTINCT FROM grid_import_wh - grid_export_wh
       ) AS energy_is_conserved
FROM paid FULL JOIN pooled USING (zone_id, local_date)

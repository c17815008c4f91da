SELECT model,
       median(value) FILTER (WHERE metric = 'nmae') AS nmae,
       median(value) FILTER (WHERE metric = 'skill_last_week') AS skill,
       avg(value) FILTER (WHERE metric = 'coverage_80') AS coverage
FROM forecasts.skill
GROUP BY model
HAVING nmae IS NOT NULL
ORDER BY nmae

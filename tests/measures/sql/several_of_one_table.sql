SELECT
  run.app_id AS app_id,
  count(*) AS runs,
  count(*) FILTER (WHERE run.is_final AND run.status = 'failed') AS failed_runs,
  count(*) FILTER (WHERE run.status = 'stale') AS flag_stale,
  count(*) FILTER (WHERE run.app_id IN (SELECT app.id FROM app WHERE app.missing_runs > 0)) AS flag_runs_missing
FROM run
WHERE run.created_at >= $since
  AND run.created_at < $until
  AND run.is_debug IS NOT TRUE
GROUP BY 1
LIMIT 200001;
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00

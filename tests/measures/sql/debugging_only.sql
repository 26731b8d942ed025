SELECT
  count(*) AS runs,
  count(*) FILTER (WHERE run.status = 'stale') AS flag_stale,
  count(*) FILTER (WHERE run.app_id IN (SELECT app.id FROM app WHERE app.missing_runs > 0)) AS flag_runs_missing
FROM run
WHERE run.created_at >= $since
  AND run.created_at < $until
  AND run.is_debug IN ($where_0_0);
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00
-- $where_0_0 = True

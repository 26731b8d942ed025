SELECT
  count(*) FILTER (WHERE (run.status = 'failed')) AS failed_runs,
  count(*) AS finished_runs
FROM run
WHERE run.created_at >= $since
  AND run.created_at < $until
  AND run.is_debug IS NOT TRUE
  AND run.is_final;
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00

SELECT
  CAST(make_timestamp(epoch_us(run.created_at) + CASE WHEN run.created_at < $change_0 THEN $offset_0 ELSE $offset_1 END) AS DATE) AS step,
  count(*) AS runs,
  count(*) FILTER (WHERE run.status = 'stale') AS flag_stale,
  count(*) FILTER (WHERE run.app_id IN (SELECT app.id FROM app WHERE app.missing_runs > 0)) AS flag_runs_missing
FROM run
WHERE run.created_at >= $since
  AND run.created_at < $until
  AND run.is_debug IS NOT TRUE
GROUP BY 1
LIMIT 200001;
-- $offset_0 = 7200000000
-- $offset_1 = 3600000000
-- $change_0 = 2026-10-25T01:00:00+00:00
-- $since = 2026-10-01T00:00:00+00:00
-- $until = 2026-11-01T00:00:00+00:00

SELECT
  coalesce(run.workspace_id, app.workspace_id) AS workspace_id,
  count(*) AS runs,
  count(*) FILTER (WHERE run.status = 'stale') AS flag_stale,
  count(*) FILTER (WHERE run.app_id IN (SELECT app.id FROM app WHERE app.missing_runs > 0)) AS flag_runs_missing
FROM run
LEFT JOIN app ON app.id = run.app_id
WHERE run.created_at >= $since
  AND run.created_at < $until
  AND run.is_debug IS NOT TRUE
GROUP BY 1
LIMIT 200001;
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00
SELECT
  coalesce(message.workspace_id, app.workspace_id) AS workspace_id,
  count(*) AS messages,
  count(*) FILTER (WHERE message.status = 'stale') AS flag_stale,
  count(*) FILTER (WHERE message.is_debug IS NULL) AS flag_debug_unknown
FROM message
LEFT JOIN app ON app.id = message.app_id
WHERE message.created_at >= $since
  AND message.created_at < $until
  AND message.is_debug IS NOT TRUE
GROUP BY 1
LIMIT 200001;
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00
SELECT
  coalesce(model_call.workspace_id, app.workspace_id) AS workspace_id,
  sum(model_call.tokens) AS tokens,
  count(*) FILTER (WHERE model_call.is_estimate) AS flag_estimated,
  count(*) FILTER (WHERE model_call.tokens IS NULL) AS flag_usage_unknown,
  count(*) FILTER (WHERE model_call.is_debug IS NULL) AS flag_debug_unknown
FROM model_call
LEFT JOIN app ON app.id = model_call.app_id
WHERE model_call.created_at >= $since
  AND model_call.created_at < $until
  AND model_call.is_debug IS NOT TRUE
GROUP BY 1
LIMIT 200001;
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00

SELECT
  coalesce(sum(model_call.tokens), CASE WHEN count(*) = 0 THEN 0 END) AS tokens,
  count(*) FILTER (WHERE model_call.is_estimate) AS flag_estimated,
  count(*) FILTER (WHERE model_call.tokens IS NULL) AS flag_usage_unknown,
  count(*) FILTER (WHERE model_call.is_debug IS NULL) AS flag_debug_unknown
FROM model_call
WHERE model_call.created_at >= $since
  AND model_call.created_at < $until
  AND model_call.is_debug IS NOT TRUE;
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00

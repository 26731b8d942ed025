SELECT
  coalesce(sum(model_call.tokens), CASE WHEN count(*) = 0 THEN 0 END) AS tokens,
  count(*) FILTER (WHERE model_call.is_estimate) AS flag_estimated,
  count(*) FILTER (WHERE model_call.tokens IS NULL) AS flag_usage_unknown,
  count(*) FILTER (WHERE model_call.is_debug IS NULL) AS flag_debug_unknown
FROM model_call
LEFT JOIN run ON run.id = model_call.run_id
LEFT JOIN message ON message.id = model_call.message_id
WHERE model_call.created_at >= $since
  AND model_call.created_at < $until
  AND model_call.is_debug IS NOT TRUE
  AND model_call.app_id IN ($where_0_0, $where_0_1)
  AND (model_call.model_name IS NULL) IS NOT TRUE
  AND coalesce(run.user_id, message.user_id) IN ($where_2_0);
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00
-- $where_0_0 = 'a'
-- $where_0_1 = 'b'
-- $where_2_0 = 'u1'

SELECT
  CAST(date_trunc('month', make_timestamp(epoch_us(model_call.created_at) + $offset_0)) AS DATE) AS step,
  model_call.model_name AS model_name,
  model_call.currency AS currency,
  sum(model_call.cost) AS cost,
  count(*) FILTER (WHERE model_call.is_estimate) AS flag_estimated,
  count(*) FILTER (WHERE model_call.tokens > 0 AND coalesce(model_call.cost, 0) = 0) AS flag_unpriced,
  count(*) FILTER (WHERE model_call.is_debug IS NULL) AS flag_debug_unknown
FROM model_call
WHERE model_call.created_at >= $since
  AND model_call.created_at < $until
  AND model_call.is_debug IS NOT TRUE
GROUP BY 1, 2, 3
LIMIT 200001;
-- $offset_0 = 0
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00

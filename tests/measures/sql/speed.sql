SELECT
  epoch_us(model_call.created_at) // 3600000000 AS step,
  model_call.model_name AS model_name,
  sum(model_call.output_tokens) AS generated_tokens,
  sum(model_call.latency_seconds - model_call.time_to_first_token_seconds) AS generation_seconds
FROM model_call
WHERE model_call.created_at >= $since
  AND model_call.created_at < $until
  AND model_call.is_debug IS NOT TRUE
  AND model_call.output_tokens IS NOT NULL AND model_call.time_to_first_token_seconds IS NOT NULL AND model_call.latency_seconds > model_call.time_to_first_token_seconds
GROUP BY 1, 2
LIMIT 200001;
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00

SELECT
  message.app_id AS app_id,
  avg(message.latency_seconds) AS response_time_mean,
  quantile_cont(message.latency_seconds, [0.5, 0.95, 0.99]) AS response_time_quantiles
FROM message
WHERE message.created_at >= $since
  AND message.created_at < $until
  AND message.is_debug IS NOT TRUE
  AND message.status = 'succeeded'
GROUP BY 1
LIMIT 200001;
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00

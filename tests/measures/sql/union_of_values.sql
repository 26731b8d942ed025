SELECT
  step,
  app_id,
  count(DISTINCT value) AS active_users
FROM (
  SELECT
    CAST(date_trunc('week', make_timestamp(epoch_us(run.created_at) + $offset_0)) AS DATE) AS step,
    run.app_id AS app_id,
    run.user_id AS value
  FROM run
  WHERE run.created_at >= $since
    AND run.created_at < $until
    AND run.is_debug IS NOT TRUE
  UNION ALL
  SELECT
    CAST(date_trunc('week', make_timestamp(epoch_us(message.created_at) + $offset_0)) AS DATE) AS step,
    message.app_id AS app_id,
    message.user_id AS value
  FROM message
  WHERE message.created_at >= $since
    AND message.created_at < $until
    AND message.is_debug IS NOT TRUE
) AS facts
GROUP BY 1, 2
LIMIT 200001;
-- $offset_0 = 0
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00

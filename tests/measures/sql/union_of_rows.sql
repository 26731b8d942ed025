SELECT
  step,
  coalesce(sum(value), 0) AS requests
FROM (
  SELECT
    epoch_us(request.created_at) // 60000000 AS step,
    count(*) AS value
  FROM request
  WHERE request.created_at >= $since
    AND request.created_at < $until
  GROUP BY 1
  UNION ALL
  SELECT
    epoch_us(run.created_at) // 60000000 AS step,
    count(*) AS value
  FROM run
  WHERE run.created_at >= $since
    AND run.created_at < $until
    AND run.is_debug IS NOT TRUE
    AND NOT EXISTS (SELECT 1 FROM request WHERE request.run_id = run.id AND request.created_at >= $since - INTERVAL 1 DAY AND request.created_at < $until + INTERVAL 1 DAY)
  GROUP BY 1
  UNION ALL
  SELECT
    epoch_us(message.created_at) // 60000000 AS step,
    count(*) AS value
  FROM message
  LEFT JOIN app ON app.id = message.app_id
  WHERE message.created_at >= $since
    AND message.created_at < $until
    AND message.is_debug IS NOT TRUE
    AND message.run_id IS NULL AND app.mode IS DISTINCT FROM 'advanced-chat' AND NOT EXISTS (SELECT 1 FROM request WHERE request.message_id = message.id AND request.created_at >= $since - INTERVAL 1 DAY AND request.created_at < $until + INTERVAL 1 DAY)
  GROUP BY 1
) AS facts
GROUP BY 1
LIMIT 200001;
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00

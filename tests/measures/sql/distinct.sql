SELECT
  CAST(make_timestamp(epoch_us(message.created_at) + $offset_0) AS DATE) AS step,
  count(DISTINCT message.conversation_id) AS conversations,
  count(*) FILTER (WHERE message.is_debug IS NULL) AS flag_debug_unknown
FROM message
WHERE message.created_at >= $since
  AND message.created_at < $until
  AND message.is_debug IS NOT TRUE
GROUP BY 1
LIMIT 200001;
-- $offset_0 = 0
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00

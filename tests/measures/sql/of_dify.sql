SELECT
  CAST(make_timestamp(epoch_us(message.created_at) + $offset_0) AS DATE) AS step,
  sum(liked.likes) AS dify_likes
FROM message
LEFT JOIN (SELECT message_id, count(*) AS likes FROM feedback WHERE rating = 'like' GROUP BY 1) AS liked ON liked.message_id = message.id
WHERE message.created_at >= $since
  AND message.created_at < $until
  AND message.is_debug IS NOT TRUE
  AND CASE WHEN message.invoke_from IS NOT NULL THEN message.invoke_from <> 'debugger' WHEN message.source = 'database' THEN FALSE ELSE message.is_debug IS NOT TRUE END AND liked.likes IS NOT NULL
GROUP BY 1
LIMIT 200001;
-- $offset_0 = 0
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00
SELECT
  CAST(make_timestamp(epoch_us(conversation.created_at) + $offset_0) AS DATE) AS step,
  count(*) AS dify_session_messages,
  count(DISTINCT message.conversation_id) AS dify_sessions
FROM message
LEFT JOIN conversation ON conversation.id = message.conversation_id
LEFT JOIN app ON app.id = message.app_id
WHERE conversation.created_at >= $since
  AND conversation.created_at < $until
  AND message.is_debug IS NOT TRUE
  AND (CASE WHEN conversation.id IS NOT NULL THEN CASE WHEN message.invoke_from IS NOT NULL THEN message.invoke_from <> 'debugger' WHEN message.source = 'database' THEN FALSE ELSE message.is_debug IS NOT TRUE END AND app.mode IN ('chat', 'agent-chat', 'advanced-chat') END AND (message.created_at IS NULL OR message.created_at >= $since - INTERVAL 1 DAY))
GROUP BY 1
LIMIT 200001;
-- $offset_0 = 0
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00
SELECT
  step,
  coalesce(sum(value), 0) AS dify_rated_rows
FROM (
  SELECT
    CAST(make_timestamp(epoch_us(message.created_at) + $offset_0) AS DATE) AS step,
    count(*) AS value
  FROM message
  WHERE message.created_at >= $since
    AND message.created_at < $until
    AND message.is_debug IS NOT TRUE
    AND CASE WHEN message.invoke_from IS NOT NULL THEN message.invoke_from <> 'debugger' WHEN message.source = 'database' THEN FALSE ELSE message.is_debug IS NOT TRUE END
  GROUP BY 1
  UNION ALL
  SELECT
    CAST(make_timestamp(epoch_us(message.created_at) + $offset_0) AS DATE) AS step,
    count(*) AS value
  FROM message
  LEFT JOIN (SELECT message_id, count(*) AS likes FROM feedback WHERE rating = 'like' GROUP BY 1) AS liked ON liked.message_id = message.id
  WHERE message.created_at >= $since
    AND message.created_at < $until
    AND message.is_debug IS NOT TRUE
    AND CASE WHEN message.invoke_from IS NOT NULL THEN message.invoke_from <> 'debugger' WHEN message.source = 'database' THEN FALSE ELSE message.is_debug IS NOT TRUE END AND liked.likes > 1
  GROUP BY 1
) AS facts
GROUP BY 1
LIMIT 200001;
-- $offset_0 = 0
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00

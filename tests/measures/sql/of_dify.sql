SELECT
  CAST(make_timestamp(epoch_us(message.created_at) + $offset_0) AS DATE) AS step,
  sum((SELECT count(*) FROM feedback WHERE feedback.message_id = message.id AND feedback.rating = 'like')) AS dify_likes,
  sum(greatest(1, (SELECT count(*) FROM feedback WHERE feedback.message_id = message.id AND feedback.rating = 'like'))) AS dify_rated_rows
FROM message
WHERE message.created_at >= $since
  AND message.created_at < $until
  AND message.is_debug IS NOT TRUE
  AND CASE WHEN message.invoke_from IS NOT NULL THEN message.invoke_from <> 'debugger' WHEN message.source = 'database' THEN FALSE ELSE message.is_debug IS NOT TRUE END
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
  AND CASE WHEN message.invoke_from IS NOT NULL THEN message.invoke_from <> 'debugger' WHEN message.source = 'database' THEN FALSE ELSE message.is_debug IS NOT TRUE END AND app.mode IN ('chat', 'agent-chat', 'advanced-chat')
GROUP BY 1
LIMIT 200001;
-- $offset_0 = 0
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00

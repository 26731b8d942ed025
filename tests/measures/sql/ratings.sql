SELECT
  count(*) FILTER (WHERE feedback.rating = 'like') AS likes,
  count(*) FILTER (WHERE feedback.rating IN ('like', 'dislike')) AS ratings
FROM feedback
LEFT JOIN message ON message.id = feedback.message_id
WHERE coalesce(feedback.created_at, message.created_at) >= $since
  AND coalesce(feedback.created_at, message.created_at) < $until
  AND message.is_debug IS NOT TRUE
  AND ((feedback.rating = 'like') OR (feedback.rating IN ('like', 'dislike')));
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00

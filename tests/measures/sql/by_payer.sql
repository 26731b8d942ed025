SELECT
  CASE WHEN payer_user.kind IS NOT NULL THEN payer_user.department WHEN payer_key.kind IS NOT NULL THEN payer_key.department WHEN payer_app.kind IS NOT NULL THEN payer_app.department WHEN payer_workspace.kind IS NOT NULL THEN payer_workspace.department END AS department,
  sum(model_call.tokens) AS tokens,
  count(*) FILTER (WHERE model_call.is_estimate) AS flag_estimated,
  count(*) FILTER (WHERE model_call.tokens IS NULL) AS flag_usage_unknown,
  count(*) FILTER (WHERE model_call.is_debug IS NULL) AS flag_debug_unknown
FROM model_call
LEFT JOIN run ON run.id = model_call.run_id
LEFT JOIN message ON message.id = model_call.message_id
LEFT JOIN (SELECT request.run_id AS owner, arg_min(request.key_fingerprint, request.created_at) AS value FROM request WHERE request.run_id IS NOT NULL AND request.created_at >= $since - INTERVAL 1 DAY AND request.created_at < $until + INTERVAL 1 DAY GROUP BY 1) AS run_key ON run_key.owner = model_call.run_id
LEFT JOIN (SELECT request.message_id AS owner, arg_min(request.key_fingerprint, request.created_at) AS value FROM request WHERE request.message_id IS NOT NULL AND request.created_at >= $since - INTERVAL 1 DAY AND request.created_at < $until + INTERVAL 1 DAY GROUP BY 1) AS message_key ON message_key.owner = model_call.message_id
LEFT JOIN app ON app.id = model_call.app_id
LEFT JOIN payer_span AS payer_user ON payer_user.kind = 'user' AND payer_user.subject = coalesce(run.user_id, message.user_id) AND model_call.created_at >= payer_user.starts_at AND model_call.created_at < payer_user.ends_at
LEFT JOIN payer_span AS payer_key ON payer_key.kind = 'key' AND payer_key.subject = coalesce(message_key.value, run_key.value) AND model_call.created_at >= payer_key.starts_at AND model_call.created_at < payer_key.ends_at
LEFT JOIN payer_span AS payer_app ON payer_app.kind = 'app' AND payer_app.subject = model_call.app_id AND model_call.created_at >= payer_app.starts_at AND model_call.created_at < payer_app.ends_at
LEFT JOIN payer_span AS payer_workspace ON payer_workspace.kind = 'workspace' AND payer_workspace.subject = coalesce(model_call.workspace_id, app.workspace_id) AND model_call.created_at >= payer_workspace.starts_at AND model_call.created_at < payer_workspace.ends_at
WHERE model_call.created_at >= $since
  AND model_call.created_at < $until
  AND model_call.is_debug IS NOT TRUE
GROUP BY 1
LIMIT 200001;
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00

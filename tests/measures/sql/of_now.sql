SELECT
  watermark.stream AS stream,
  min(watermark.complete_until) AS complete_until
FROM watermark
LEFT JOIN app ON app.id = watermark.app_id
WHERE app.deleted_at IS NULL
GROUP BY 1
LIMIT 200001;

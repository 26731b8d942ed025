SELECT
  watermark.stream AS stream,
  min(coalesce(greatest(watermark.complete_until, better_mark.reached_until), watermark.complete_until)) AS complete_until
FROM watermark
LEFT JOIN app ON app.id = watermark.app_id
LEFT JOIN (
  SELECT mark.source, mark.stream, coalesce(nullif(mark.origin, ''), app.origin) AS origin,
    min(mark.complete_until) AS reached_until
  FROM watermark AS mark LEFT JOIN app ON app.id = mark.app_id
  WHERE mark.source IN ('console', 'database') AND app.deleted_at IS NULL GROUP BY ALL
) AS better_mark ON better_mark.source <> watermark.source AND watermark.source IN ('console', 'database')
  AND better_mark.origin = coalesce(nullif(watermark.origin, ''), app.origin)
  AND better_mark.stream =
    CASE WHEN watermark.stream IN ('app-logs', 'debug-runs') THEN 'runs' ELSE watermark.stream END
WHERE app.deleted_at IS NULL
GROUP BY 1
LIMIT 200001;

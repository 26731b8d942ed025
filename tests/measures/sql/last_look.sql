SELECT
  step,
  dataset_name,
  sum(knowledge_documents) AS knowledge_documents,
  sum(knowledge_segments) AS knowledge_segments
FROM (
  SELECT
    CAST(make_timestamp(epoch_us(dataset_day.created_at) + $offset_0) AS DATE) AS step,
    dataset.name AS dataset_name,
    CASE WHEN TRUE THEN dataset_day.documents END AS knowledge_documents,
    CASE WHEN TRUE THEN dataset_day.segments END AS knowledge_segments,
    row_number() OVER (PARTITION BY CAST(make_timestamp(epoch_us(dataset_day.created_at) + $offset_0) AS DATE), dataset_day.dataset_id ORDER BY dataset_day.created_at DESC, dataset_day.id DESC) AS place
  FROM dataset_day
  LEFT JOIN dataset ON dataset.id = dataset_day.dataset_id
  WHERE dataset_day.created_at >= $since
    AND dataset_day.created_at < $until
) AS looks
WHERE place = 1
GROUP BY 1, 2
LIMIT 200001;
-- $offset_0 = 0
-- $since = 2026-11-20T00:00:00+00:00
-- $until = 2026-11-21T00:00:00+00:00

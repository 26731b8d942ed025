"""What knowledge bases held, day by day, with the price that counts: the part of rating that is not about calls.

What comes in are the book's prices of storage; what goes out are SQL over `dataset_day` and the parameters it binds. A
knowledge base is charged for each day on which it was looked at, by the last look of that day; a day without a look is
not charged. Who pays is who pays for its workspace. Dify does not tell how many bytes it keeps, so nobody is charged
for bytes. Nothing here runs SQL.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from collector.billing.book import STORED_KINDS, Book

_COLUMNS = dict(zip(STORED_KINDS, ("documents", "segments", "words", "tokens"), strict=True))
"""A kind -> the column of `dataset_day` that counts it."""

_QUANTITIES = ", ".join(f"coalesce(dataset_day.{column}, 0) AS {kind}" for kind, column in _COLUMNS.items())
_NAMES = ", ".join(repr(kind) for kind in STORED_KINDS)
_SPREAD = f"unnest([{_NAMES}]) AS kind, unnest([{', '.join(STORED_KINDS)}]) AS quantity"

LOOKS = f"""
look AS (
  SELECT dataset_day.id, dataset_day.created_at, dataset_day.dataset_id, dataset.name AS dataset_name,
    coalesce(dataset_day.workspace_id, dataset.workspace_id) AS workspace_id,
    CAST(make_timestamp(epoch_us(dataset_day.created_at) + {{look_offset}}) AS DATE) AS day, {_QUANTITIES}
  FROM dataset_day LEFT JOIN dataset ON dataset.id = dataset_day.dataset_id
  WHERE dataset_day.created_at >= $since AND dataset_day.created_at < $until
  QUALIFY row_number() OVER (PARTITION BY dataset_day.dataset_id, day ORDER BY dataset_day.created_at DESC) = 1
),
shelf AS (
  SELECT unnest($shelf_no::INTEGER[]) AS no, unnest($shelf_price::INTEGER[]) AS price,
    unnest($shelf_from::DATE[]) AS from_day, unnest($shelf_until::DATE[]) AS until_day,
    unnest($shelf_dataset::VARCHAR[]) AS dataset, unnest($shelf_workspace::VARCHAR[]) AS workspace
),
kept AS (
  SELECT look.day, look.workspace_id, look.dataset_id, look.dataset_name, look.id, look.created_at,
    payer_span.person, payer_span.department, payer_span.cost_centre, {", ".join(STORED_KINDS)},
    (SELECT arg_min(shelf.price, shelf.no) FROM shelf
      WHERE look.day >= shelf.from_day AND look.day < shelf.until_day
        AND (look.dataset_id GLOB shelf.dataset OR coalesce(look.dataset_name, '') GLOB shelf.dataset)
        AND coalesce(look.workspace_id, '') GLOB shelf.workspace) AS price
  FROM look LEFT JOIN payer_span ON payer_span.kind = 'workspace' AND payer_span.subject = look.workspace_id
    AND look.created_at >= payer_span.starts_at AND look.created_at < payer_span.ends_at
),
stored AS (
  SELECT day, workspace_id, person, department, cost_centre, dataset_id, dataset_name, price, created_at, id, {_SPREAD}
  FROM kept WHERE price IS NOT NULL
)
"""
"""CTEs: `stored` has what was kept on a day, by kind, with the number of its price."""


def shelves(book: Book, first: int) -> dict[str, Any]:
    """The book's prices of storage as columns of parameters, numbered from `first` on; of several that fit a day the
    one that starts last counts, of these the first in the book."""
    order = sorted(enumerate(book.storage), key=lambda each: (-(each[1].start or date.min).toordinal(), each[0]))
    return {
        "shelf_no": list(range(len(order))),
        "shelf_price": [first + place for place, _ in order],
        "shelf_from": [each.start or date(1970, 1, 1) for _, each in order],
        "shelf_until": [each.end or date(9999, 1, 1) for _, each in order],
        "shelf_dataset": [each.dataset or "*" for _, each in order],
        "shelf_workspace": [each.workspace or "*" for _, each in order],
    }

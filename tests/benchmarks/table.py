"""The table of the README that says how fast this is: made from results.json, and of nothing that was not measured.

What comes in are kept results and a page; what goes out is the page, with the lines between its marks made anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

BEGIN, END = "<!-- measured -->", "<!-- /measured -->"

SHOWN = (
    ("sse.events_ratio", "reading a stream, an event in each chunk: events a second", "more"),
    ("sse.big_event_ratio", "reading an event of 2 MB in chunks of 1.4 KB: speed", "more"),
    ("tap.cpu_per_event_ratio", "the tap under 1,000 streams, read and measured: CPU an event", "less"),
    ("tap.added_p99_ratio", "the tap under 1,000 streams: delay of the slowest of a hundred events", "less"),
    ("tap.json_rps_ratio", "the tap under plain requests: requests for each second of CPU", "more"),
    ("tap.kb_per_stream", "the tap: memory of an open stream", "less"),
    ("tap.soak_faults", "streams lost, doubled or wrong in the store, callers and collector failing at random", "less"),
    ("pull.database_ratio", "back-fill from Dify's database: rows a second", "more"),
    ("pull.api_ratio", "back-fill from Dify's API, four connections: requests a second", "more"),
    ("store.load_ratio", "loading facts into the store, each once: rows a second", "more"),
    ("store.merge_ratio", "10,000 facts into 10 million: time", "less"),
    ("query.30d_1m_ratio", "30-day statistics of every app out of a million messages: speed", "more"),
    ("query.30d_ratio", "30-day statistics of every app out of ten million messages: speed", "more"),
    ("query.scrape_ms", "a scrape of /metrics out of ten million calls, a thousand of them new: time", "less"),
    ("query.90d_50m_ms", "90 days of daily tokens by app over 50 million calls: time", "less"),
    ("page.first_view_ms", "the page's first view over 10 million facts: time until every number is there", "less"),
    ("report.month_s", "a month's report over 10 million calls, beside the month before, as HTML: time", "less"),
    ("billing.rating_ratio", "a month of a million calls made into a bill: calls a second", "more"),
    ("prometheus.cpu_ratio", "/metrics with 10,000 series: CPU saved", "more"),
)
"""Figure -> what it is, and whether more or less of it is better."""


def table(kept: dict[str, Any]) -> str:
    """The measured figures, in the order of SHOWN."""
    lines = ["| what | beside | figure | better | measured |", "| --- | --- | ---: | --- | --- |"]
    return "\n".join([*lines, *_rows(kept)])


def _rows(kept: dict[str, Any]) -> Iterator[str]:
    found = {figure["name"]: (figure, one) for one in kept.values() for figure in one["figures"]}
    for name, what, better in SHOWN:
        if name in found:
            figure, one = found[name]
            value = f"{figure['value']:.3g}"
            told = f"{value}×" if figure["unit"] == "x" else f"{value} {figure['unit']}"
            yield f"| {what} | {figure['peer']} | {told} | {better} | {one['date']}, {one['cores']} cores |"


def with_table(page: str, kept: dict[str, Any]) -> str:
    """The page with its table made anew. Raises ValueError where it has no marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, behind = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} … {END} in the page")
    return f"{before}{BEGIN}\n{table(kept)}\n{END}{behind}"

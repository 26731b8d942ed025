"""What the streams are called, and which of them are read where.

A stream is one kind of record from one app or workspace; its name is what Pulls and watermarks say.
"""

from __future__ import annotations

from collector.collect.statistics import STREAM as STATISTICS
from collector.collect.surroundings import AROUND
from collector.pull.endpoints import API_KEYS, DEBUG_STREAMS, MEMBERS, MODELS, STREAMS

MESSAGES, NODES, FEEDBACK, CONVERSATIONS = "messages", "node-executions", "feedback", "conversations"

_LISTED = [each.stream for table in (STREAMS, DEBUG_STREAMS) for listed in table.values() for each in listed]

STREAM_NAMES: tuple[str, ...] = tuple(dict.fromkeys((*_LISTED, MESSAGES, NODES, FEEDBACK, STATISTICS, *AROUND)))
"""What a pass can be told to read only."""

BESIDE_A_DATABASE = frozenset({STATISTICS, MODELS[0].stream, MEMBERS.stream, API_KEYS.stream})
"""What is still asked of a Dify whose database is read too: what stands in no table, or needs Dify's plugins to tell,
and the keys, which the database's role is not to see."""

LISTED_RUNS = frozenset({"runs", "app-logs"})
"""The streams that list what ran for somebody."""

RUN_LISTS = frozenset(_LISTED) - {CONVERSATIONS}
"""The streams whose records Dify also tells one by one, by the id of a run."""

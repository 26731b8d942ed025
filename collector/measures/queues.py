"""Measures of Dify's task queues: how long they are, and since when their first message waits.

The last sample of a step counts; queues are added, samples are not.
"""

from __future__ import annotations

from collector.measures.measure import INSTANT, Measure, snapshot
from collector.records import QueueSample

_SAMPLE = "As of the last sample in each step; queues add up, samples do not."


def _sampled(name: str, column: str, unit: str, title: str, title_zh: str, what: str) -> Measure:
    return snapshot(
        name,
        QueueSample,
        column,
        key="broker, queue",
        unit=unit,
        title=title,
        title_zh=title_zh,
        help=f"{what} {_SAMPLE}",
    )


MEASURES = (
    _sampled(
        "queue_messages",
        "ready + coalesce(unacked, 0)",
        "messages",
        "Queue backlog",
        "队列积压量",
        "Tasks that wait or are being worked on.",
    ),
    _sampled(
        "queue_ready", "ready", "messages", "Tasks waiting", "等待中的任务数", "Tasks that no worker has taken yet."
    ),
    _sampled(
        "queue_unacked",
        "unacked",
        "messages",
        "Tasks at work",
        "执行中的任务数",
        "Tasks that a worker has taken and not finished.",
    ),
    _sampled(
        "queue_workspaces",
        "workspaces",
        "workspaces",
        "Workspaces waiting",
        "等待中的工作空间数",
        "Workspaces in a waiting list.",
    ),
    _sampled(
        "queue_oldest_message",
        "oldest_seen_at",
        INSTANT,
        "Oldest waiting task",
        "最早等待任务的时间",
        "Since when, at least, the first task in line has waited.",
    ),
    _sampled(
        "queue_oldest_taken",
        "oldest_taken_at",
        INSTANT,
        "Longest running task",
        "最早开始执行任务的时间",
        "When the task that is longest at work was taken.",
    ),
)

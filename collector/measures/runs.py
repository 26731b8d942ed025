"""Measures of workflow runs and of the nodes in them.

A run counts in the period in which it was started. Runs of the console's test button are marked and left out.
"""

from __future__ import annotations

from collector.measures.flags import RUNS_MISSING, STALE_RUNS
from collector.measures.measure import INSTANT, Kind, Measure, count, ratio, spread
from collector.records import NodeExecution, Run

FINAL = "is_final"

RUNS = count(
    "runs",
    Run,
    unit="runs",
    title="Runs",
    title_zh="运行次数",
    help="Workflow runs started, whatever became of them.",
    flags=(STALE_RUNS, RUNS_MISSING),
)
FINISHED_RUNS = count(
    "finished_runs",
    Run,
    where=FINAL,
    unit="runs",
    title="Finished runs",
    title_zh="已结束运行",
    help="Workflow runs that ended: succeeded, succeeded in part, failed or were stopped.",
)
SUCCEEDED_RUNS = count(
    "succeeded_runs",
    Run,
    where=f"{FINAL} AND status = 'succeeded'",
    unit="runs",
    title="Succeeded runs",
    title_zh="成功运行",
    help="Workflow runs that ended well in every node.",
)
PARTLY_SUCCEEDED_RUNS = count(
    "partly_succeeded_runs",
    Run,
    where=f"{FINAL} AND status = 'partial-succeeded'",
    unit="runs",
    title="Partly succeeded runs",
    title_zh="部分成功运行",
    help="Workflow runs that went on after a node had failed.",
)
FAILED_RUNS = count(
    "failed_runs",
    Run,
    where=f"{FINAL} AND status = 'failed'",
    unit="runs",
    title="Failed runs",
    title_zh="失败运行",
    help="Workflow runs that ended in an error.",
)
STOPPED_RUNS = count(
    "stopped_runs",
    Run,
    where=f"{FINAL} AND status = 'stopped'",
    unit="runs",
    title="Stopped runs",
    title_zh="中止运行",
    help="Workflow runs that somebody stopped.",
)
RUNNING_RUNS = count(
    "running_runs",
    Run,
    where=f"NOT {FINAL} AND status IN ('running', 'scheduled')",
    unit="runs",
    title="Running runs",
    title_zh="运行中",
    help="Workflow runs that have not ended yet.",
)
OLDEST_RUNNING_RUN = Measure(
    name="oldest_running_run",
    kind=Kind.EARLIEST,
    record=Run,
    column="created_at",
    where="status = 'running'",
    unit=INSTANT,
    title="Oldest running run",
    title_zh="最早的运行中任务",
    help="When the run began that has been running for longest.",
)
PAUSED_RUNS = count(
    "paused_runs",
    Run,
    where=f"NOT {FINAL} AND status = 'paused'",
    unit="runs",
    title="Paused runs",
    title_zh="暂停中",
    help="Workflow runs that wait for a person.",
)
STALE = count(
    "stale_runs",
    Run,
    where=f"NOT {FINAL} AND status = 'stale'",
    unit="runs",
    title="Stale runs",
    title_zh="长期未结束运行",
    help="Workflow runs open for longer than a run may be; Dify never says how they ended.",
)
RUN_FAILURE_RATIO = ratio(
    "run_failure_ratio",
    FAILED_RUNS,
    FINISHED_RUNS,
    title="Failed runs per finished run",
    title_zh="运行失败率",
    help="Failed runs ÷ finished runs, 0 to 1.",
)
RUN_ELAPSED = spread(
    "run_elapsed",
    Run,
    "elapsed_seconds",
    where=FINAL,
    title="Time of a run",
    title_zh="运行耗时",
    help="Wall time of finished workflow runs, as Dify measures it: the response time of workflow apps.",
)

NODE_EXECUTIONS = count(
    "node_executions",
    NodeExecution,
    unit="node executions",
    title="Node executions",
    title_zh="节点执行次数",
    help="Workflow nodes executed; a retried node is one execution.",
)
FAILED_NODE_EXECUTIONS = count(
    "failed_node_executions",
    NodeExecution,
    where=f"{FINAL} AND status IN ('failed', 'exception')",
    unit="node executions",
    title="Failed node executions",
    title_zh="失败的节点执行",
    help="Workflow nodes that ended in an error, also those whose run went on.",
)
NODE_ELAPSED = spread(
    "node_elapsed",
    NodeExecution,
    "elapsed_seconds",
    where=FINAL,
    title="Time of a node",
    title_zh="节点耗时",
    help="Wall time of finished workflow nodes.",
)

MEASURES = (
    RUNS,
    FINISHED_RUNS,
    SUCCEEDED_RUNS,
    PARTLY_SUCCEEDED_RUNS,
    FAILED_RUNS,
    STOPPED_RUNS,
    RUNNING_RUNS,
    OLDEST_RUNNING_RUN,
    PAUSED_RUNS,
    STALE,
    RUN_FAILURE_RATIO,
    *RUN_ELAPSED,
    NODE_EXECUTIONS,
    FAILED_NODE_EXECUTIONS,
    *NODE_ELAPSED,
)

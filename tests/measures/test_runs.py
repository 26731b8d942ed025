from __future__ import annotations

from tests.builders import NOON, a_node, a_run, an_app


def test_runs_count_by_app(facts):
    facts.put(a_run(), a_run(id="r2"), a_run(id="r3", app_id="helpdesk"))

    assert facts.by("app", "runs") == {"shop": 2, "helpdesk": 1}


def test_runs_count_by_status(facts):
    facts.put(a_run(), a_run(id="r2", status="failed"), a_run(id="r3", status="running", is_final=False))

    assert facts.by("status", "runs") == {"succeeded": 1, "failed": 1, "running": 1}


def test_a_running_run_has_not_finished(facts):
    facts.put(a_run(), a_run(id="r2", status="running", is_final=False, elapsed_seconds=None))

    (row,) = facts.ask("runs,finished_runs,running_runs,run_failure_ratio").rows

    assert row == {"runs": 2, "finished_runs": 1, "running_runs": 1, "run_failure_ratio": 0.0}


def test_a_stale_run_is_not_running_and_is_flagged(facts):
    facts.put(a_run(status="stale", is_final=False))

    answer = facts.ask("runs,running_runs,stale_runs")

    assert answer.rows == [{"runs": 1, "running_runs": 0, "stale_runs": 1}]
    assert answer.flags == {"stale": 1}


def test_the_console_test_button_is_left_out(facts):
    facts.put(a_run(), a_run(id="r2", is_debug=True), a_run(id="r3", is_debug=None))

    assert facts.value("runs") == 2
    assert facts.value("runs", include_debug=True) == 3
    assert facts.value("runs", where=["is_debug:true"]) == 1
    assert facts.by("is_debug", "runs") == {False: 1, True: 1, None: 1}


def test_the_failure_ratio_of_the_whole_is_sum_over_sum(facts):
    facts.put(a_run(status="failed"), *(a_run(id=f"h{n}", app_id="helpdesk") for n in range(3)))

    assert facts.by("app", "run_failure_ratio") == {"shop": 1.0, "helpdesk": 0.0}
    assert facts.value("run_failure_ratio") == 0.25


def test_without_runs_the_failure_ratio_is_not_known(facts):
    assert facts.value("run_failure_ratio") is None


def test_run_elapsed_is_spread(facts):
    facts.put(*(a_run(id=f"r{n}", elapsed_seconds=float(n)) for n in range(101)))

    (row,) = facts.ask("run_elapsed").rows

    assert row == {"run_elapsed_mean": 50.0, "run_elapsed_p50": 50.0, "run_elapsed_p95": 95.0, "run_elapsed_p99": 99.0}


def test_an_app_goes_by_the_name_it_has_now(facts):
    facts.put(an_app(name="Shop 2"), a_run(), a_run(id="r2", app_id="gone"))

    assert facts.by("app_name", "runs") == {"Shop 2": 1, None: 1}


def test_a_run_that_does_not_know_its_workspace_is_in_its_app_s(facts):
    facts.put(an_app(workspace_id="w1"), a_run(workspace_id=None), a_run(id="r2", workspace_id="w2"))

    assert facts.by("workspace", "runs") == {"w1": 1, "w2": 1}


def test_a_run_counts_where_it_started_or_where_it_finished(facts):
    yesterday = NOON.replace(hour=0, minute=0, second=0)
    facts.put(a_run(created_at=yesterday.replace(day=19, hour=23), finished_at=NOON))

    assert facts.value("runs") == 0
    assert facts.value("runs", moment="finished") == 1


def test_nodes_count_with_their_failures(facts):
    facts.put(a_node(), a_node(id="n2", status="exception"), a_node(id="n3", status="running", is_final=False))

    (row,) = facts.ask("node_executions,failed_node_executions").rows

    assert row == {"node_executions": 3, "failed_node_executions": 1}

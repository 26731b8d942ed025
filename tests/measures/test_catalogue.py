from __future__ import annotations

import re

import pytest

from collector.errors import QueryError
from collector.measures.ask import BEFORE, CHANGE
from collector.measures.catalogue import CATALOGUE, Catalogue
from collector.measures.chinese import help_zh
from collector.measures.dimension import Dimension
from collector.measures.dimensions import DIMENSIONS
from collector.measures.formula import formula, sources
from collector.measures.fragments import qualify
from collector.measures.measure import count
from collector.measures.runs import FAILED_RUNS, RUNS
from collector.records import ModelCall, Run


def test_a_misspelt_measure_is_answered_with_the_right_one():
    with pytest.raises(QueryError, match=r"no measure 'failed_run'; did you mean 'failed_runs'\?  \(GET .*lists all"):
        CATALOGUE.measure("failed_run")


def test_a_dimension_answers_to_its_short_name():
    assert CATALOGUE.dimension("model") is CATALOGUE.dimension("model_name")


def test_an_unknown_dimension_names_the_field_it_was_written_in():
    with pytest.raises(QueryError, match="no dimension 'colour';") as caught:
        CATALOGUE.dimension("colour", field="where")

    assert caught.value.field == "where"


def test_a_family_stands_for_its_members():
    names = [measure.name for measure in CATALOGUE.measures(["response_time", "response_time_p95"])]

    assert names == ["response_time_mean", "response_time_p50", "response_time_p95", "response_time_p99"]


def test_a_name_stands_once():
    with pytest.raises(ValueError, match="'runs' twice"):
        Catalogue((RUNS, RUNS), DIMENSIONS)


def test_no_measure_has_the_name_of_a_dimension():
    runs_as_dimension = Dimension(name="runs", title="", title_zh="", help="", columns={Run: "id"})

    with pytest.raises(ValueError, match="'runs'"):
        Catalogue((RUNS,), (runs_as_dimension,))


def test_a_column_that_does_not_exist_stops_the_program():
    with pytest.raises(ValueError, match="run has no column 'colour'"):
        count("red_runs", Run, where="colour = 'red'", unit="runs", title="", title_zh="", help="")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("status = 'status'", "model_call.status = 'status'"),
        ("coalesce(cost, 0) = 0", "coalesce(model_call.cost, 0) = 0"),
        ("run.status IS NULL", "run.status IS NULL"),
        ("created_at >= $since", "model_call.created_at >= $since"),
        (
            "EXISTS (SELECT 1 FROM run WHERE run.id = run_id)",
            "EXISTS (SELECT 1 FROM run WHERE run.id = model_call.run_id)",
        ),
    ],
)
def test_columns_get_their_table(written, meant):
    assert qualify(written, ModelCall) == meant
    assert qualify(meant, ModelCall) == meant


@pytest.mark.parametrize("measure", [*CATALOGUE], ids=lambda measure: measure.name)
def test_every_measure_says_what_it_is_in_two_languages(measure):
    assert measure.title
    assert re.search("[一-鿿]", measure.title_zh)
    assert measure.help.endswith((".", ")"))
    assert str(help_zh(measure)).endswith(("。", "）"))
    assert formula(measure, CATALOGUE)
    assert sources(measure)
    assert measure.unit
    assert re.fullmatch("[a-z][a-z0-9_]*", measure.name)


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=lambda dimension: dimension.name)
def test_every_dimension_says_what_it_is_in_two_languages(dimension):
    assert dimension.title
    assert re.search("[一-鿿]", dimension.title_zh)
    assert dimension.help.endswith(".")
    assert str(help_zh(dimension)).endswith("。")


FLAGS = {flag.name: flag for measure in CATALOGUE for flag in measure.flags}.values()


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_every_flag_says_what_it_is_in_two_languages(flag):
    assert flag.title
    assert re.search("[一-鿿]", flag.title_zh)
    assert flag.help.endswith(".")
    assert str(help_zh(flag)).endswith("。")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("failed_runs", "count of run where run.is_final AND run.status = 'failed'"),
        ("run_failure_ratio", "failed_runs ÷ finished_runs"),
        ("tokens", "sum of model_call.tokens"),
        ("active_users", "different run.user_id of run and different message.user_id of message"),
        ("run_elapsed_p95", "p95 of run.elapsed_seconds, interpolated where run.is_final"),
        ("request_rate", "requests ÷ seconds of the step"),
        ("apps", "count of app where app.deleted_at IS NULL"),
        ("knowledge_documents", "last dataset_day.documents of each dataset_day.dataset_id in the step, summed"),
    ],
)
def test_a_measure_tells_how_it_is_worked_out(name, told):
    assert formula(CATALOGUE.measure(name), CATALOGUE) == told


def test_a_measure_tells_who_can_bring_its_facts():
    assert sources(CATALOGUE.measure("request_duration_p95")) == ("tap",)
    assert sources(CATALOGUE.measure("queue_messages")) == ("broker",)
    assert sources(CATALOGUE.measure("requests")) == ("tap", "console", "database", "file")


def test_no_measure_ends_like_a_column_of_a_comparison():
    assert not [measure.name for measure in CATALOGUE if measure.name.endswith((BEFORE, CHANGE))]


def test_money_is_always_by_currency():
    money = [measure for measure in CATALOGUE if measure.is_money]

    assert money
    assert all([dimension.name for dimension in measure.always_by] == ["currency"] for measure in money)


def test_users_and_ids_are_no_labels():
    labels = {dimension.name for dimension in DIMENSIONS if dimension.is_label}

    assert labels.isdisjoint({"user_id", "session_id", "conversation_id", "run_id", "key_fingerprint", "app_name"})


def test_only_what_counts_or_sums_adds_up():
    assert FAILED_RUNS.adds_up
    assert not CATALOGUE.measure("active_users").adds_up
    assert not CATALOGUE.measure("run_failure_ratio").adds_up

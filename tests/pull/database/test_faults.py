"""A database that is not there, refuses, is no Dify's, or goes away: one clear error, and never a password in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

from collector.errors import DifyMetricError, SettingsError, Unauthorized
from collector.pull.database import Limits, Reading
from collector.pull.database.connection import look, settings_of
from collector.pull.database.rights import ROLE, examine, role_sql
from collector.records import Message, ModelCall
from tests.pull.database.world import World, key
from tests.servers.postgres import Postgres, create_tables, load_sample, postgres, why_missing

SECRET = "hunter2-and-more"


def test_a_wrong_password_is_refused_once_and_not_repeated(world: World):
    with pytest.raises(Unauthorized) as refused:
        world.pull(dsn=world.server.dsn_over_tcp(world.database, password=SECRET))

    assert "postgres at 127.0.0.1" in str(refused.value)
    assert not world.batches


def test_the_right_password_is_taken(world: World):
    assert world.pull(dsn=world.server.dsn_over_tcp(world.database))["apps"].is_complete


@pytest.mark.parametrize(
    ("dsn", "wanted"),
    [
        (f"postgresql://dify:{SECRET}@127.0.0.1:1/dify", "unavailable"),
        (f"postgresql://dify:my {SECRET}@127.0.0.1/dify", "cannot be read"),
        (f"host=127.0.0.1 password={SECRET} {SECRET}", "cannot be read"),
        (f"mysql://dify:{SECRET}@127.0.0.1/dify", "cannot be read"),
        (f"postgresql://dify:{SECRET}@no.such.host.invalid/dify", "unavailable"),
    ],
)
def test_an_address_that_leads_nowhere_is_told_without_its_password(
    world: World, dsn: str, wanted: str, capsys: pytest.CaptureFixture[str]
):
    try:
        said = str({pull.error_class for pull in world.pull(dsn=dsn).values()})
    except DifyMetricError as error:
        said = _everything_said(error)

    assert wanted in said
    assert SECRET not in said + "".join(capsys.readouterr())


def test_a_database_that_is_not_there_is_a_matter_of_settings(world: World):
    with pytest.raises(SettingsError, match="no such user or database"):
        world.pull(dsn=world.server.dsn("nothing_here"))


@pytest.mark.parametrize("runs_by_index", [0, 10])
def test_a_column_that_we_need_and_is_missing_stops_everything(own_world: World, runs_by_index: int):
    own_world.execute("ALTER TABLE workflow_runs RENAME COLUMN total_tokens TO tokens_total")

    with pytest.raises(SettingsError, match=r"no column workflow_runs\.total_tokens.*nothing was read"):
        own_world.pull(Reading(runs_by_index=runs_by_index))

    assert not own_world.batches


def test_a_column_of_another_type_stops_everything(own_world: World):
    own_world.execute("ALTER TABLE messages ALTER COLUMN message_tokens TYPE text")

    with pytest.raises(SettingsError, match=r"messages\.message_tokens is text, wanted integer or bigint"):
        own_world.pull()


def test_another_database_is_refused_by_its_first_missing_column(world: World):
    with pytest.raises(SettingsError, match=r"no column apps\.id: this is no Dify"):
        world.pull(dsn=world.server.dsn("postgres"))


def test_columns_that_only_some_versions_have_may_be_missing(own_world: World):
    own_world.execute(
        "ALTER TABLE messages DROP COLUMN invoke_from, DROP COLUMN app_mode",
        "ALTER TABLE conversations DROP COLUMN invoke_from",
        "ALTER TABLE workflow_runs DROP COLUMN exceptions_count",
        "ALTER TABLE apps DROP COLUMN is_universal",
        "ALTER TABLE app_model_configs DROP COLUMN provider, DROP COLUMN model_id",
        "DROP TABLE tag_bindings",
    )
    own_world.has_an_app(mode="chat")
    own_world.has_a_run()
    own_world.execute(
        "INSERT INTO messages (app_id, conversation_id, inputs, query, message, message_tokens, answer, answer_tokens,"
        " message_unit_price, answer_unit_price, provider_response_latency, currency, from_source)"
        " SELECT id, gen_random_uuid(), '{}', '', '[]', 7, 'a', 3, 0, 0, 1, 'USD', 'api' FROM apps"
    )

    pulls = own_world.pull()

    assert all(pull.is_complete for pull in pulls.values())
    (message,) = own_world.all(Message)
    assert (message.invoke_from, message.is_debug) == (None, False)
    assert len(own_world.all(ModelCall)) == 1  # the app's own mode tells that it is a call


def test_a_table_the_role_may_not_read_costs_its_own_stream_only(world: World):
    world.has_a_message()
    world.execute(
        "DROP ROLE IF EXISTS reader",
        "CREATE ROLE reader LOGIN",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
        "REVOKE SELECT ON message_feedbacks FROM reader",
    )

    pulls = world.pull(dsn=world.dsn.replace("postgres@", "reader@"))
    world.execute("DROP OWNED BY reader", "DROP ROLE reader")

    assert pulls["feedback"].error_class == "forbidden"
    assert "feedback" not in world.marks
    assert all(pull.is_complete for stream, pull in pulls.items() if stream != "feedback")


@pytest.fixture
def minimal(sample_template: str, postgres_server: Postgres) -> Iterator[World]:
    """The recorded Dify, read by the role that is documented."""
    database = postgres_server.database(sample_template)
    world = World(postgres_server, database)
    world.execute(role_sql())
    world.dsn = world.dsn.replace("postgres@", f"{ROLE}@")
    yield world
    postgres_server.execute(database, f"DROP OWNED BY {ROLE}", f"DROP ROLE {ROLE}")
    postgres_server.drop(database)


@pytest.mark.parametrize("runs_by_index", [0, 1000])
def test_the_rights_that_are_documented_are_enough(minimal: World, sample: World, runs_by_index: int):
    pulls = minimal.pull(Reading(runs_by_index=runs_by_index))
    again = minimal.pull(Reading(runs_by_index=runs_by_index))

    assert all(pull.is_complete for pull in (*pulls.values(), *again.values()))
    assert minimal.facts == sample.facts


@pytest.mark.parametrize(
    "column", ["messages.query", "dataset_queries.content", "accounts.password", "api_tokens.token", "documents.name"]
)
def test_they_are_not_enough_to_read_what_people_wrote(minimal: World, column: str):
    table, _, name = column.partition(".")
    with psycopg.connect(minimal.dsn) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(f"SELECT {name} FROM {table}")  # type: ignore[call-overload]


class TestExamined:
    def test_the_smallest_rights_are_neither_too_little_nor_too_much(self, minimal: World):
        found = examine(minimal.dsn, None, lambda: minimal.now)

        assert (found.user, found.apps, found.missing, found.more) == (ROLE, 8, (), ())

    def test_what_is_missing_comes_as_the_statement_that_grants_it(self, minimal: World):
        minimal.execute(f"REVOKE SELECT (rating, message_id) ON message_feedbacks FROM {ROLE}")
        (grant,) = examine(minimal.dsn, None, lambda: minimal.now).missing
        assert minimal.pull()["feedback"].error_class == "forbidden"

        minimal.execute(grant)

        assert grant == f"GRANT SELECT (message_id, rating) ON message_feedbacks TO {ROLE};"
        assert minimal.pull()["feedback"].is_complete
        assert not examine(minimal.dsn, None, lambda: minimal.now).missing

    def test_what_is_too_much_is_told(self, minimal: World):
        minimal.execute(f"GRANT SELECT, UPDATE ON messages TO {ROLE}")

        writes, reads = examine(minimal.dsn, None, lambda: minimal.now).more

        assert writes == "it may write to messages"
        assert reads.startswith("it may read messages.agent_based and ")

    def test_a_superuser_is_told(self, sample: World):
        assert examine(sample.dsn, None, lambda: sample.now).more == ("it is a superuser",)

    def test_only_the_workspace_that_is_asked_for_counts(self, sample: World):
        assert examine(sample.dsn, key("nobody's"), lambda: sample.now).apps == 0


def test_a_query_that_takes_too_long_is_given_up_and_the_rest_goes_on(own_world: World):
    own_world.execute(
        "CREATE FUNCTION slow() RETURNS boolean LANGUAGE sql VOLATILE AS 'SELECT pg_sleep(60) IS NULL'",
        "ALTER TABLE message_feedbacks RENAME TO ratings",
        "CREATE VIEW message_feedbacks AS SELECT * FROM ratings WHERE slow()",
    )
    own_world.insert("ratings", _a_rating())
    own_world.has_a_message()

    pulls = own_world.pull(Reading(limits=Limits(statement_seconds=1.0)))

    assert pulls["feedback"].error_class == "unavailable"
    assert pulls["messages"].is_complete
    assert "feedback" not in own_world.marks


def _a_rating() -> dict[str, object]:
    ids = dict.fromkeys(["app_id", "conversation_id", "message_id"], "00000000-0000-0000-0000-000000000001")
    return {"rating": "like", "from_source": "user", **ids}


def test_a_locked_table_is_not_waited_for(world: World):
    with psycopg.connect(world.dsn) as migration:
        migration.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")

        pulls = world.pull(Reading(limits=Limits(lock_seconds=0.1)))

    assert pulls["messages"].error_class == "unavailable"
    assert pulls["feedback"].is_complete


def test_a_connection_cut_in_the_middle_costs_nothing_that_was_put(world: World):
    for number in range(6):
        world.has_a_message(f"m{number}")
    reading = Reading(put_records=1, limits=Limits(fetch_rows=2))

    def cut(stream: str, records: int) -> None:
        if stream == "messages":
            world.server.end_connections(world.database)

    pulls = world.pull(reading, on_progress=cut)
    assert pulls["messages"].error_class == "unavailable"
    assert pulls["feedback"].error_class == "unavailable"
    assert "messages" not in world.marks

    assert world.pull(reading)["messages"].is_complete
    assert len(world.all(Message)) == 6


@pytest.fixture
def own_server() -> Iterator[Postgres]:
    if missing := why_missing():
        pytest.skip(missing)
    with postgres() as server:
        yield server


def test_a_server_that_dies_and_comes_back_gives_the_rest(own_server: Postgres):
    database = own_server.database()
    create_tables(own_server, database)
    load_sample(own_server, database)
    own_server.execute(database, "CHECKPOINT")  # the server commits without waiting for the disk
    world = World(own_server, database)
    reading = Reading(put_records=1, limits=Limits(fetch_rows=20), runs_by_index=0)

    def die(stream: str, records: int) -> None:
        if stream == "node-executions" and records > 60:
            own_server.stop("immediate")

    broken = world.pull(reading, on_progress=die)
    put = len(world.all(ModelCall))
    assert broken["node-executions"].error_class == "unavailable"
    assert put > 0
    assert {pull.error_class for pull in world.pull(reading).values()} == {"unavailable"}

    own_server.run()
    assert all(pull.is_complete for pull in world.pull(reading).values())
    assert sum(call.tokens or 0 for call in world.all(ModelCall)) == 4612


def test_the_look_is_read_only_bounded_and_named(world: World):
    names = ["transaction_read_only", "transaction_isolation", "statement_timeout", "lock_timeout", "application_name"]
    names += ["idle_in_transaction_session_timeout", "TimeZone"]
    with look(world.dsn, Limits(statement_seconds=7), lambda: world.now, _never) as view:
        told = settings_of(view, names)

    assert told == {
        "transaction_read_only": "on",
        "transaction_isolation": "repeatable read",
        "statement_timeout": "7s",
        "lock_timeout": "2s",
        "idle_in_transaction_session_timeout": "10min",
        "application_name": "dify-metric",
        "TimeZone": "UTC",
    }


def test_nothing_can_be_written_through_a_look(world: World):
    with look(world.dsn, Limits(), lambda: world.now, _never) as view, pytest.raises(DifyMetricError):
        view.rows("DELETE FROM messages RETURNING 1", {})


def test_without_the_driver_the_error_says_what_to_install():
    script = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from collector.pull.database import pull_database\n"
        "from collector.errors import SettingsError\n"
        "try: pull_database('postgresql://', None, None, None)\n"
        "except SettingsError as error: print(error)\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "pip install 'dify-metric[database]'" in done.stdout


def _everything_said(error: BaseException) -> str:
    """An error's words and those of all it came from."""
    said = ""
    seen: BaseException | None = error
    while seen is not None:
        said += f"{seen!r} {seen}"
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return said


def _never(seconds: float) -> None:
    raise AssertionError("nobody waits here")

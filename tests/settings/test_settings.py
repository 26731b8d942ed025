"""Who said what wins in a fixed order, and whatever is wrong is named with its place and its remedy."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from collector.errors import SettingsError
from collector.settings import FIELDS, SECRETS, Settings, describe, variable
from collector.settings.configuration import load_settings
from collector.settings.written import Address, Behind, spelled

DIFY = {"DIFY_METRIC_DIFY_URL": "https://dify.example.com"}
KEY = "a-key-nobody-may-see"


@pytest.fixture(autouse=True)
def _no_file_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def toml(text: str, path: str = "dify-metric.toml") -> Path:
    Path(path).write_text(text, encoding="utf-8")
    return Path(path)


def refusal(overrides=(), env=(), config_path: Path | None = None) -> str:
    with pytest.raises(SettingsError) as refused:
        load_settings(dict(overrides), dict(env), config_path)
    return str(refused.value)


class TestPrecedence:
    def test_nothing_said_gives_the_defaults(self):
        assert load_settings({}, {}) == Settings()

    def test_command_line_beats_environment_beats_file_beats_default(self):
        file = toml("retries = 1\npull_concurrency = 1\nhistory_days = 1\n")
        env = {"DIFY_METRIC_RETRIES": "2", "DIFY_METRIC_PULL_CONCURRENCY": "2"}
        settings = load_settings({"retries": 3}, env, file)
        assert (settings.retries, settings.pull_concurrency, settings.history_days) == (3, 2, 1)
        assert settings.node_budget == Settings().node_budget

    def test_each_value_knows_who_said_it(self):
        toml("# ours\nretries = 1\nhistory_days = 1")
        settings = load_settings({"store": "x.duckdb"}, {"DIFY_METRIC_RETRIES": "2"})
        assert settings.origin("store") == "command line --store"
        assert settings.origin("retries") == "environment variable DIFY_METRIC_RETRIES"
        assert settings.origin("history_days") == "dify-metric.toml line 3"
        assert settings.origin("listen") == "default"

    def test_what_the_command_line_leaves_out_and_empty_variables_say_nothing(self):
        settings = load_settings({"retries": None}, {"DIFY_METRIC_RETRIES": ""})
        assert settings.origin("retries") == "default"

    def test_the_file_is_named_by_command_line_or_variable_or_lies_here(self):
        toml("retries = 1")
        toml("retries = 2", "named.toml")
        toml("retries = 3", "said.toml")
        env = {"DIFY_METRIC_CONFIG": "named.toml"}
        assert load_settings({}, {}).retries == 1
        assert load_settings({}, env).retries == 2
        assert load_settings({}, env, Path("said.toml")).retries == 3

    def test_a_file_that_was_named_has_to_be_there(self):
        assert "gone.toml: cannot be read (No such file or directory)" in refusal(config_path=Path("gone.toml"))
        assert "gone.toml: cannot be read" in refusal(env={"DIFY_METRIC_CONFIG": "gone.toml"})

    def test_other_variables_are_none_of_our_business(self):
        load_settings({}, {"PATH": "/bin", "dify_metric_retries": "x"})


class TestValues:
    def test_are_read_from_text(self):
        env = {
            "DIFY_METRIC_PULL_INTERVAL": "5m",
            "DIFY_METRIC_LISTEN": "[::1]:80",
            "DIFY_METRIC_READ_COMPLETIONS": "true",
            "DIFY_METRIC_PULL_BUDGET_SECONDS": "2.5",
            "DIFY_METRIC_DIFY_PATH_PREFIX": "ai-portal/proxy/",
            "DIFY_METRIC_DIFY_URL": " https://dify.example.com:8443/ ",
            "DIFY_METRIC_REPORT_TIMEZONE": "Asia/Shanghai",
        }
        settings = load_settings({}, env)
        assert settings.pull_interval == timedelta(minutes=5)
        assert settings.listen == Address("::1", 80)
        assert settings.read_completions is True
        assert settings.pull_budget_seconds == 2.5
        assert settings.dify_path_prefix == "/ai-portal/proxy"
        assert settings.dify_url == "https://dify.example.com:8443"
        assert settings.report_timezone == "Asia/Shanghai"

    @pytest.mark.parametrize(
        ("name", "value", "wanted"),
        [
            ("retries", "many", "a valid integer"),
            ("retries", "-1", "greater than or equal to 0"),
            ("retries", "1.5", "a valid integer"),
            ("pull_concurrency", "0", "greater than or equal to 1"),
            ("pull_interval", "60", "a number and one of s, m, h, d, w"),
            ("pull_interval", "0s", "a number and one of s, m, h, d, w"),
            ("pull_budget_seconds", "nan", "a finite number"),
            ("pull_budget_seconds", "0", "greater than 0"),
            ("read_completions", "perhaps", "a valid boolean"),
            ("listen", "9180", "host:port"),
            ("listen", ":9180", "host:port"),
            ("listen", "::1:9180", "host:port"),
            ("listen", "here:99999", "host:port, the port 0 to 65535"),
            ("dify_url", "dify.example.com", "a URL that starts with http:// or https://"),
            ("dify_url", "https://", "a URL that starts with http:// or https://"),
            ("dify_url", "http://[::1", "a URL that starts with http:// or https://"),
            ("dify_url", "https://dify/?a=b", "a URL without user name, password, ? and #"),
            ("dify_path_prefix", "https://portal/proxy", "a path such as /ai-portal/proxy"),
            ("report_timezone", "Mars/Base", "an IANA time zone such as Asia/Shanghai"),
            ("log_level", "loud", "'debug', 'info', 'warning' or 'error'"),
            ("store", " ", "some text, not an empty one"),
        ],
    )
    def test_that_do_not_fit_are_named_with_what_is_wanted(self, name: str, value: str, wanted: str):
        message = refusal(env={variable(name): value})
        assert message.startswith(f"{name}: wanted {wanted}, got {value!r} from environment variable {variable(name)}")

    def test_the_remedy_is_spelled_for_the_place_it_goes_to(self):
        assert refusal(env={"DIFY_METRIC_RETRIES": "x"}).endswith("write for example DIFY_METRIC_RETRIES=4")
        assert refusal(overrides={"pull_interval": "x"}).endswith("write for example --pull-interval 60s")
        assert refusal(config_path=toml("pull_interval = 60")).endswith('write for example pull_interval = "60s"')
        assert refusal(config_path=toml("retries = true")).endswith("write for example retries = 4")

    def test_everything_wrong_is_said_at_once(self):
        message = refusal({"retries": "x"}, {"DIFY_METRIC_LISTEN": "x", "DIFY_METRIC_LISTENN": "x"}, toml("stor = 1"))
        assert len(message.splitlines()) == 4

    def test_a_file_that_is_no_toml_says_where(self):
        assert "dify-metric.toml: no TOML" in refusal(config_path=toml("retries = 1\nstore = facts"))
        assert "line 2" in refusal(config_path=toml("retries = 1\nstore = facts"))
        Path("latin.toml").write_bytes(b'store = "caf\xe9"')
        assert "no UTF-8 text" in refusal(config_path=Path("latin.toml"))

    @given(st.sampled_from(sorted(FIELDS)), st.text(max_size=30) | st.integers() | st.floats() | st.booleans())
    def test_any_value_is_taken_or_refused_by_name(self, name: str, value: object):
        try:
            load_settings({name: value}, DIFY)
        except SettingsError as refused:
            assert name in str(refused)  # noqa: PT017 — both outcomes are fine, only the silence is not


class TestUnknownNames:
    @pytest.mark.parametrize(
        ("env", "said"),
        [
            ("DIFY_METRIC_RETRYS", "no environment variable DIFY_METRIC_RETRYS; did you mean DIFY_METRIC_RETRIES?"),
            ("DIFY_METRIC_Retries", "no environment variable DIFY_METRIC_Retries; did you mean DIFY_METRIC_RETRIES?"),
            ("DIFY_METRIC_XYZZY", "no environment variable DIFY_METRIC_XYZZY; `dify-metric check` lists all settings"),
        ],
    )
    def test_of_variables_are_refused(self, env: str, said: str):
        assert refusal(env={env: "1"}) == said

    def test_of_keys_in_the_file_are_refused_with_their_line(self):
        said = refusal(config_path=toml("retries = 1\n\nlissten = 'x'\n"))
        assert said == "dify-metric.toml line 3: no setting 'lissten'; did you mean 'listen'?"

    def test_tables_in_the_file_are_refused(self):
        assert "line 1: no setting 'lab'" in refusal(config_path=toml("[lab]\nurl = 'x'\n"))
        assert "[[dify]] with two brackets" in refusal(config_path=toml("[dify]\nurl = 'x'\n"))

    def test_of_options_are_refused(self):
        assert "command line --store-path: no setting 'store_path'" in refusal(overrides={"store_path": "x"})

    def test_what_kubernetes_says_about_a_service_of_our_name_is_let_be(self):
        links = {
            "DIFY_METRIC_SERVICE_HOST": "10.0.0.7",
            "DIFY_METRIC_SERVICE_PORT": "9180",
            "DIFY_METRIC_SERVICE_PORT_HTTP": "9180",
            "DIFY_METRIC_PORT": "tcp://10.0.0.7:9180",
            "DIFY_METRIC_PORT_9180_TCP": "tcp://10.0.0.7:9180",
            "DIFY_METRIC_PORT_9180_TCP_ADDR": "10.0.0.7",
            "DIFY_METRIC_TAP_SERVICE_HOST": "10.0.0.8",
        }
        load_settings({}, links | {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
        assert len(refusal(env=links).splitlines()) == len(links)


class TestSigningIn:
    @pytest.mark.parametrize(
        ("given", "way"),
        [
            ({}, None),
            ({"dify_admin_key": KEY, "dify_workspace_id": "w"}, "admin key"),
            ({"dify_email": "a@b.c", "dify_password": KEY}, "password"),
            ({"dify_token": KEY}, "token"),
        ],
    )
    def test_there_is_one_way_or_none(self, given: dict[str, str], way: str | None):
        assert load_settings(given, DIFY).sign_in == way

    @pytest.mark.parametrize(
        ("given", "fault"),
        [
            ({"dify_admin_key": KEY}, "dify_admin_key without dify_workspace_id"),
            ({"dify_workspace_id": "w"}, "dify_workspace_id without dify_admin_key"),
            ({"dify_email": "a@b.c"}, "dify_email without dify_password"),
            ({"dify_password": KEY}, "dify_password without dify_email"),
            ({"dify_token": KEY, "dify_email": "a@b.c", "dify_password": KEY}, "more than one way to sign in"),
            ({"dify_token": KEY, "dify_workspace_id": "w"}, "more than one way to sign in"),
        ],
    )
    def test_half_a_way_and_two_ways_are_refused(self, given: dict[str, str], fault: str):
        said = refusal(given, DIFY)
        assert said.startswith(fault)
        assert "from command line --dify-" in said

    def test_credentials_need_an_address(self):
        assert refusal({"dify_token": KEY}).startswith("credentials but no dify_url")


class TestSecrets:
    def test_can_stand_in_a_file_of_their_own(self, tmp_path: Path):
        file = tmp_path / "token"
        file.write_text(f"{KEY}\n")
        settings = load_settings({}, DIFY | {"DIFY_METRIC_DIFY_TOKEN_FILE": str(file)})
        assert settings.dify_token is not None
        assert settings.dify_token.get_secret_value() == KEY
        assert settings.origin("dify_token") == f"file {file}, environment variable DIFY_METRIC_DIFY_TOKEN_FILE"

    def test_said_higher_up_beat_a_file_named_lower_down(self, tmp_path: Path):
        (tmp_path / "token").write_text("low")
        file = toml("dify_token_file = 'token'")
        settings = load_settings({}, DIFY | {"DIFY_METRIC_DIFY_TOKEN": KEY}, file)
        assert settings.secrets == (KEY,)

    def test_are_not_given_twice_in_one_place(self, tmp_path: Path):
        (tmp_path / "token").write_text(KEY)
        said = refusal(env=DIFY | {"DIFY_METRIC_DIFY_TOKEN": KEY, "DIFY_METRIC_DIFY_TOKEN_FILE": "token"})
        assert said.startswith("dify_token: given by environment variable DIFY_METRIC_DIFY_TOKEN and by environment")

    def test_files_that_are_not_there_or_empty_are_named(self, tmp_path: Path):
        (tmp_path / "token").write_text("\n")
        assert "dify_token: wanted some text" in refusal(env=DIFY | {"DIFY_METRIC_DIFY_TOKEN_FILE": "token"})
        gone = refusal(env=DIFY | {"DIFY_METRIC_DIFY_TOKEN_FILE": "gone"})
        assert gone.startswith("dify_token_file: the file named by environment variable DIFY_METRIC_DIFY_TOKEN_FILE")

    @pytest.mark.parametrize(
        "env",
        [
            {"DIFY_METRIC_DIFY_TOKEN": KEY, "DIFY_METRIC_DIFY_EMAIL": "a@b.c"},
            {"DIFY_METRIC_DIFY_ADMIN_KEY": KEY},
            {"DIFY_METRIC_DIFY_TOKEN": KEY, "DIFY_METRIC_RETRIES": "x"},
            {"DIFY_METRIC_DIFY_TOKEN_FILE": KEY},
            {"DIFY_METRIC_DIFY_TOKENN": KEY},
            {"DIFY_METRIC_DIFY_URL": f"https://me:{KEY}@dify"},
        ],
    )
    def test_are_in_no_error(self, env: dict[str, str]):
        assert KEY not in refusal(env=env)

    def test_in_an_address_are_not_quoted_back(self):
        with pytest.raises(ValidationError) as refused:
            Settings(dify_url=f"https://me:{KEY}@dify")
        assert KEY not in str(refused.value)

    def test_of_the_wrong_kind_are_not_quoted_either(self):
        assert "12345678" not in refusal(config_path=toml("dify_token = 12345678"))

    def test_are_masked_wherever_settings_are_shown(self):
        settings = load_settings({"dify_token": KEY}, DIFY)
        assert KEY not in repr(settings)
        assert KEY not in repr(describe(settings))
        assert {one.name: one.value for one in describe(settings)}["dify_token"] == "********"


class TestUpstreams:
    @pytest.mark.parametrize(
        ("written", "read"),
        [
            ("http://dify:5001", [Behind("http://dify:5001")]),
            ("http://dify/api/", [Behind("http://dify/api")]),
            ("http://dify/a=b", [Behind("http://dify/a=b")]),
            ("/lab=http://lab, http://dify", [Behind("http://lab", prefix="/lab"), Behind("http://dify")]),
            ("Dify.Example.com=https://a", [Behind("https://a", "dify.example.com")]),
            ("a.example/x/=http://a", [Behind("http://a", "a.example", "/x")]),
            (["http://a", "/b=http://b,/c=http://c"], [*map(Behind, ("http://a", "http://b", "http://c"))]),
        ],
    )
    def test_are_written_in_one_line_or_several(self, written: object, read: list[Behind]):
        found = load_settings({"tap_upstream": written}, {}).upstreams
        assert [each.url for each in found] == [each.url for each in read]
        assert isinstance(written, list) or list(found) == read
        assert load_settings({"tap_upstream": spelled(found)}, {}).upstreams == found

    @pytest.mark.parametrize("written", ["dify:5001", "/x=dify", "http://u:p@dify", "http://dify?x", 7, ["ftp://x"]])
    def test_that_are_none_are_refused(self, written: object):
        assert "tap_upstream: wanted" in refusal({"tap_upstream": written})

    def test_are_where_dify_is_unless_something_else_is_said(self):
        assert load_settings({"dify_token": KEY}, DIFY).upstreams == (Behind("https://dify.example.com"),)
        assert load_settings({}, {}).upstreams == ()
        assert "tap without an upstream" in refusal({"tap": "127.0.0.1:80"})


class TestDescription:
    def test_tells_value_source_unit_and_help_of_every_field(self):
        rows = describe(load_settings({"pull_interval": "120s"}, {}))
        assert [row.name for row in rows] == list(FIELDS)
        (row,) = (row for row in rows if row.name == "pull_interval")
        assert (row.value, row.default, row.source, row.unit) == ("2m", "60s", "command line --pull-interval", "span")
        assert row.variable == "DIFY_METRIC_PULL_INTERVAL"

    def test_shows_values_as_one_would_write_them(self):
        rows = {row.name: row.value for row in describe(Settings()) if row.value}
        assert load_settings(rows, {}) == load_settings(dict.fromkeys(rows), {}).told_by(
            {name: f"command line --{name.removeprefix('tap_').replace('_', '-')}" for name in rows}
        )

    @given(st.integers(1, 10**6))
    def test_a_span_is_spelled_so_that_it_can_be_read_again(self, seconds: int):
        settings = load_settings({"pull_interval": spelled(timedelta(seconds=seconds))}, {})
        assert settings.pull_interval == timedelta(seconds=seconds)

    def test_knows_which_fields_are_secret(self):
        assert set(SECRETS) == {
            *("dify_admin_key", "dify_password", "dify_token", "dify_app_keys"),
            *("broker_url", "broker_cache_url", "database_url"),
            *("admin_token", "read_token", "ingest_token", "metrics_token"),
            *("smtp_url", "report_webhooks"),
        }

    def test_settings_do_not_change(self):
        with pytest.raises(ValidationError):
            Settings().retries = 5  # type: ignore[misc]

"""Real servers that fail, hang, break off and recover: every report arrives once, and nothing tells where."""

from __future__ import annotations

import io
import json
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from collector.logs import set_up_logs
from collector.report_post.mail import Mail
from collector.report_post.rounds import listed
from collector.report_post.webhook import Posting
from collector.reporting import Reporting
from collector.settings import Settings
from collector.settings.configuration import load_settings
from collector.settings.sending import mail_server, webhooks
from collector.store import Store, open_store
from tests.demo.conftest import Clock
from tests.reports.world import NOW, a_filled_store
from tests.servers.post import DROP, ERROR, HANG, OK, Hook, Post, a_hook, a_post, silence

SECONDS = 1.0
"""How long who hangs is waited for; everybody else has as long as in a service."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_filled_store(tmp_path_factory.mktemp("filled"))


@pytest.fixture
def file(filled: Path, tmp_path: Path) -> Path:
    """A store of one's own to write into."""
    target = tmp_path / "facts.duckdb"
    target.write_bytes(filled.read_bytes())
    return target


def hurried(settings: Settings, store: Store, clock: Clock, hangs: str = "") -> Reporting:
    """Reporting that loses patience soon with the destination of that name."""
    made = Reporting(settings, store.snapshot, store.rows, store.keep_delivery, clock)
    for each in made._rounds._destinations.values():
        if each.name == hangs and isinstance(each, Mail | Posting):
            each._seconds = SECONDS
    return made


def turn(settings: Settings, file: Path, clock: Clock, hangs: str = "") -> dict[str, tuple[str, int, str | None]]:
    """A service that starts, makes one turn and ends; what became of the report, by destination."""
    with closing(open_store(file)) as store:
        hurried(settings, store, clock, hangs).go()
        return {each.destination: (each.state, each.tries, each.problem) for each in listed(store.rows)}


def settings_for(folder: Path, hook: Hook, post: Post, **told: Any) -> Settings:
    given = {
        "report_schedule": "week",
        "report_timezone": "Asia/Shanghai",
        "report_language": "zh",
        "report_formats": "html,xlsx,csv",
        "report_folder": str(folder / "out"),
        "report_recipients": "lead@example.com, 老板 <boss@example.com>",
        "report_from": "dify-metric <reports@example.com>",
        "smtp_url": f"smtp://127.0.0.1:{post.port}",
        "report_webhooks": f"ops={hook.url}/hook?key=hook-key-nobody-may-see",
    }
    return load_settings({**given, **told}, {})


@pytest.fixture
def hook() -> Iterator[Hook]:
    with a_hook() as hook:
        yield hook


@pytest.fixture
def post() -> Iterator[Post]:
    with a_post() as post:
        yield post


def test_everybody_gets_the_weekly_report_once(file: Path, tmp_path: Path, hook: Hook, post: Post):
    clock, settings = Clock(NOW), settings_for(tmp_path, hook, post)
    for _ in range(3):
        states = turn(settings, file, clock)
        clock.now += timedelta(hours=1)
    assert states == dict.fromkeys(("folder", "mail", "ops"), ("delivered", 1, None))

    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == [f"dify-report-week-2026-W46-zh.{ending}" for ending in ("html", "xlsx", "zip")]
    (told,) = hook.taken
    assert told["id"] == "week 2026-W46"
    assert told["text"].startswith("运营周报 · 2026 年第 46 周")

    (mail,) = post.taken
    assert post.to == [["lead@example.com", "boss@example.com"]]
    assert str(mail["subject"]).startswith("运营周报 · 2026 年第 46 周")
    assert mail["message-id"].endswith(".report@example.com>")
    html = mail.get_body(("html",))
    plain = mail.get_body(("plain",))
    assert html is not None
    assert plain is not None
    assert "客服助手" in html.get_content()
    assert told["text"] in plain.get_content().replace("\r\n", "\n")
    attached = {part.get_filename(): part.get_payload(decode=True) for part in mail.iter_attachments()}
    assert sorted(map(str, attached)) == files
    book = openpyxl.load_workbook(io.BytesIO(attached["dify-report-week-2026-W46-zh.xlsx"]))  # type: ignore[arg-type]
    assert book.sheetnames[0] == "总览"


@pytest.mark.parametrize("failure", [ERROR, HANG, DROP])
def test_a_webhook_that_fails_and_recovers_gets_it_once(
    file: Path, tmp_path: Path, hook: Hook, post: Post, failure: str
):
    clock, settings = Clock(NOW), settings_for(tmp_path, hook, post)
    hook.behaves, hangs = failure, "ops" if failure == HANG else ""
    assert turn(settings, file, clock, hangs)["ops"][:2] == ("waiting", 1)
    clock.now += timedelta(minutes=1)
    assert turn(settings, file, clock, hangs)["ops"][:2] == ("waiting", 2)
    assert hook.taken == []
    hook.behaves = OK
    for _ in range(3):
        clock.now += timedelta(minutes=4)
        states = turn(settings, file, clock)
    assert states == {"folder": ("delivered", 1, None), "mail": ("delivered", 1, None), "ops": ("delivered", 3, None)}
    assert len(hook.taken) == len(post.taken) == 1
    assert len(hook.heard) == 3


@pytest.mark.parametrize("failure", [ERROR, DROP])
def test_a_mail_server_that_fails_and_recovers_gets_it_once(
    file: Path, tmp_path: Path, hook: Hook, post: Post, failure: str
):
    clock, settings = Clock(NOW), settings_for(tmp_path, hook, post)
    post.behaves = failure
    assert turn(settings, file, clock)["mail"][:2] == ("waiting", 1)
    post.behaves = OK
    for _ in range(3):
        clock.now += timedelta(minutes=4)
        states = turn(settings, file, clock)
    assert states["mail"] == ("delivered", 2, None)
    assert len(post.taken) == len(hook.taken) == 1


def test_a_mail_server_that_says_nothing_holds_nobody_up(file: Path, tmp_path: Path, hook: Hook, post: Post):
    clock = Clock(NOW)
    with silence() as port:
        settings = settings_for(tmp_path, hook, post, smtp_url=f"smtp://127.0.0.1:{port}")
        states = turn(settings, file, clock, "mail")
    assert states["mail"][:2] == ("waiting", 1)
    assert str(states["mail"][2]).startswith("the mail server does not answer as one (")
    assert states["ops"] == states["folder"] == ("delivered", 1, None)
    clock.now += timedelta(minutes=1)
    assert turn(settings_for(tmp_path, hook, post), file, clock)["mail"] == ("delivered", 2, None)
    assert len(post.taken) == 1


def test_some_refused_recipients_hold_up_nobody(file: Path, tmp_path: Path, hook: Hook, post: Post):
    clock, settings = Clock(NOW), settings_for(tmp_path, hook, post)
    post.refuses = ("boss@example.com",)
    assert turn(settings, file, clock)["mail"] == ("delivered", 1, "1 of 2 recipients were refused")
    clock.now += timedelta(hours=1)
    turn(settings, file, clock)
    assert post.to == [["lead@example.com"]]


def test_a_robot_that_answers_200_and_refuses_is_asked_again(file: Path, tmp_path: Path, hook: Hook, post: Post):
    url = f"team=dingtalk+{hook.url}/robot/send?access_token=t#SECsecret"
    clock, settings = Clock(NOW), settings_for(tmp_path, hook, post, report_webhooks=url)
    hook.answer = {"errcode": 310000, "errmsg": "keywords not in content"}
    assert turn(settings, file, clock)["team"] == ("waiting", 1, "it answers code 310000")
    hook.answer = {"errcode": 0}
    clock.now += timedelta(minutes=1)
    assert turn(settings, file, clock)["team"] == ("delivered", 2, None)
    assert all("&timestamp=" in path and "&sign=" in path for path in hook.heard)


def test_a_busy_webhook_says_when_to_come_again(file: Path, tmp_path: Path, hook: Hook, post: Post):
    clock, settings = Clock(NOW), settings_for(tmp_path, hook, post)
    hook.behaves, hook.status, hook.headers = ERROR, 429, {"Retry-After": "1800"}
    turn(settings, file, clock)
    clock.now += timedelta(minutes=29)
    turn(settings, file, clock)
    assert len(hook.heard) == 1
    clock.now += timedelta(minutes=1)
    turn(settings, file, clock)
    assert len(hook.heard) == 2


def test_one_delivery_has_one_key_however_often_it_is_tried(file: Path, tmp_path: Path, hook: Hook, post: Post):
    clock, settings = Clock(NOW), settings_for(tmp_path, hook, post)
    turn(settings, file, clock)
    with closing(open_store(file)) as store:
        hurried(settings, store, clock)._rounds._keep  # noqa: B018
        found = {each.destination: each.fingerprint for each in listed(store.rows)}
    assert len(set(found.values())) == 3
    assert len(hook.keys[0] or "") == 16


def test_nothing_tells_where_it_went(
    file: Path, tmp_path: Path, hook: Hook, post: Post, capsys: pytest.CaptureFixture[str]
):
    log = io.StringIO()
    server = f"smtp://{post.USER}:{post.PASSWORD.replace(' ', '%20')}@127.0.0.1:{post.port}"
    settings = settings_for(tmp_path, hook, post, smtp_url=server)
    set_up_logs("debug", "json", secrets=settings.secrets, stream=log)
    clock = Clock(NOW)
    for behaves in (ERROR, DROP, OK):
        hook.behaves = post.behaves = behaves
        states = turn(settings, file, clock)
        clock.now += timedelta(minutes=10)
    assert {state for state, _, _ in states.values()} == {"delivered"}
    with closing(open_store(file, read_only=True)) as store:
        kept = repr(store.rows("SELECT * FROM report_delivery"))
    told = "".join(line for line in log.getvalue().splitlines() if '"event": "report ' in line)
    told += kept + "".join(capsys.readouterr())
    assert "report delivered" in told
    for secret in ("hook-key-nobody-may-see", post.PASSWORD, "a%20password", "lead@example.com", "boss@example.com"):
        assert secret not in told
    assert hook.url.rpartition(":")[2] not in kept


@pytest.fixture(scope="module")
def certificate(server: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    command = [server("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return folder


class TestTls:
    @pytest.fixture
    def tls(self, certificate: Path) -> ssl.SSLContext:
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        made.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
        return made

    def test_a_password_goes_under_it(
        self, file: Path, tmp_path: Path, hook: Hook, certificate: Path, tls: ssl.SSLContext
    ):
        with a_post(tls=tls, wants_sign_in=True) as post:
            password = post.PASSWORD.replace(" ", "%20")
            told = {"smtp_url": f"smtp+starttls://{post.USER}:{password}@127.0.0.1:{post.port}"}
            settings = settings_for(tmp_path, hook, post, smtp_ca=str(certificate / "cert.pem"), **told)
            assert turn(settings, file, Clock(NOW))["mail"] == ("delivered", 1, None)
            assert post.users == [post.USER]

    def test_a_stranger_is_shown_nothing(self, file: Path, tmp_path: Path, hook: Hook, tls: ssl.SSLContext):
        with a_post(tls=tls) as post:
            settings = settings_for(tmp_path, hook, post, smtp_url=f"smtp+starttls://127.0.0.1:{post.port}")
            state, _, problem = turn(settings, file, Clock(NOW))["mail"]
        assert state == "waiting"
        assert "smtp_ca names authorities" in str(problem)
        assert post.heard == 0

    def test_a_wrong_password_is_told_by_its_code(self, file: Path, tmp_path: Path, hook: Hook):
        with a_post() as post:
            settings = settings_for(tmp_path, hook, post, smtp_url=f"smtp://reports:wrong@127.0.0.1:{post.port}")
            state, _, problem = turn(settings, file, Clock(NOW))["mail"]
        assert (state, problem) == ("waiting", "the mail server refuses user and password (535)")


class TestTheSchedule:
    def test_a_report_waits_for_its_hour_and_for_what_is_still_being_read(self, file: Path, tmp_path: Path, hook: Hook):
        """Sunday's day is over at 16:00 UTC and due at 00:00; all was read until Saturday 01:00 only."""
        with a_post() as post:
            settings = settings_for(tmp_path, hook, post, report_schedule="day")
            clock = Clock(NOW.replace(day=22, hour=23, minute=59))
            with closing(open_store(file)) as store:
                reporting = hurried(settings, store, clock)
                for minutes, heard in ((0, 0), (2, 0), (118, 0), (2, 1), (60, 1)):
                    clock.now += timedelta(minutes=minutes)
                    reporting.go()
                    if clock.now.hour != 23:
                        assert [each["id"] for each in hook.taken if "22" in each["id"]] == ["day 2026-11-22"] * heard

    def test_day_week_and_month_at_once(self, file: Path, tmp_path: Path, hook: Hook, post: Post):
        settings = settings_for(tmp_path, hook, post, report_schedule="day, week, month")
        turn(settings, file, Clock(NOW + timedelta(hours=12)))
        assert sorted(each["id"] for each in hook.taken) == ["day 2026-11-20", "month 2026-10", "week 2026-W46"]
        assert len(post.taken) == 3


def test_the_parsed_settings():
    hooks = webhooks(
        "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=a, https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=b\n"
        "ops=https://oapi.dingtalk.com/robot/send?access_token=c#SECd feishu+http://127.0.0.1/x http://127.0.0.1/y"
    )
    assert [(each.name, each.kind, each.sign_with) for each in hooks] == [
        ("wecom-1", "wecom", None),
        ("wecom-2", "wecom", None),
        ("ops", "dingtalk", "SECd"),
        ("feishu", "feishu", None),
        ("json", "json", None),
    ]
    found = mail_server("smtp+starttls://me%40x:p%23%2Fw@mail.example.com")
    assert (found.host, found.port, found.user, found.password) == ("mail.example.com", 587, "me@x", "p#/w")
    assert "p#/w" not in repr(found)
    assert "SECd" not in repr(hooks)
    assert json.dumps([each.url for each in hooks]).count("#") == 0

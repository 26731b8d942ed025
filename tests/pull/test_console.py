"""Signing in to Dify and asking it, through every door it had and everything it answers on a bad day."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from collector.errors import (
    Forbidden,
    NotFound,
    Rejected,
    SettingsError,
    ShapeError,
    Unauthorized,
    Unavailable,
)
from collector.pull.console import Access
from tests.pull.doors import EMAIL, PASSWORD, Doors, a_console, answer, page

TOKEN = Access(url="http://dify.test", token="secret-token")


@pytest.mark.parametrize("version", ["0.8.3", "0.15.3", "1.9.1", "1.9.2", "1.11.0", "1.11.1", "1.13.0"])
async def test_every_version_lets_us_in_at_the_first_try(version):
    dify = Doors(version)

    async with a_console(dify) as console:
        assert await console.get("/apps") == {"data": [], "has_more": False}

    assert (dify.logins, dify.wrong) == (1, 0)


async def test_cookies_behind_https_have_other_names():
    dify = Doors(cookie_prefix="__Host-")

    async with a_console(dify) as console:
        await console.get("/apps")
        dify.expire()
        await console.get("/apps")

    assert (dify.logins, dify.refreshes) == (1, 1)


async def test_the_admin_key_names_its_workspace_and_needs_no_login():
    def behind(request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == "Bearer key"
        assert request.headers["X-WORKSPACE-ID"] == "w1"
        assert request.url.raw_path == b"/ai-portal/proxy/console/api/apps/a%2Fb"
        return answer({"id": "a/b"})

    access = Access(url="http://dify.test/", path_prefix="/ai-portal/proxy/", admin_key="key", workspace_id="w1")
    async with a_console(behind, access=access) as console:
        assert await console.get("/apps/{app_id}", app_id="a/b") == {"id": "a/b"}
        assert await console.workspace_id() == "w1"
        assert console.requests == {("/apps/{app_id}", "200"): 1}


async def test_a_wrong_password_is_sent_once_and_never_again():
    dify = Doors()
    access = Access(url="http://dify.test", email=EMAIL, password="wrong")

    async with a_console(dify, access=access) as console:
        for _ in range(8):
            with pytest.raises(Unauthorized, match="24 hours"):
                await console.get("/apps")
        assert console.refused is not None
        assert "wrong" not in console.refused.replace("wrong passwords", "")

    assert dify.logins == 1


async def test_eight_requests_at_once_share_one_refused_login():
    dify = Doors()
    access = Access(url="http://dify.test", email=EMAIL, password="wrong")

    async with a_console(dify, access=access) as console:
        ends = await asyncio.gather(*(console.get("/apps") for _ in range(8)), return_exceptions=True)

    assert {type(end) for end in ends} == {Unauthorized}
    assert dify.logins == 1


async def test_a_locked_account_stops_us_too():
    dify = Doors()
    dify.wrong = 5

    async with a_console(dify) as console:
        for _ in range(2):
            with pytest.raises(Unauthorized, match="locked"):
                await console.get("/apps")

    assert dify.logins == 1


async def test_an_old_login_that_fails_with_200_is_refused():
    def behind(request: httpx.Request) -> httpx.Response:
        return answer({"result": "fail", "data": "wrong"}, x_version="0.8.0")

    async with a_console(behind) as console:
        with pytest.raises(Unauthorized):
            await console.get("/apps")
        assert console.refused


async def test_a_login_that_could_not_be_answered_is_tried_again_later():
    dify = Doors()
    broken = [True]

    async def asked(request: httpx.Request) -> httpx.Response:
        if broken[0] and request.url.path.endswith("/login"):
            return page(502)
        return await dify(request)

    async with a_console(asked) as console:
        with pytest.raises(Unavailable):
            await console.get("/apps")
        broken[0] = False
        await console.get("/apps")

    assert dify.logins == 1


@pytest.mark.parametrize("version", ["0.8.3", "1.9.1", "1.11.1"])
async def test_an_expired_session_is_renewed_once_for_all(version):
    dify = Doors(version)

    async with a_console(dify) as console:
        await console.get("/apps")
        dify.expire()
        await asyncio.gather(*(console.get("/apps") for _ in range(8)))

    # a bare JWT has no refresh token: there only another login helps
    assert (dify.logins, dify.refreshes) == ((2, 0) if version == "0.8.3" else (1, 1))


async def test_a_refresh_token_already_used_leads_to_a_login():
    dify = Doors()

    async with a_console(dify) as console:
        await console.get("/apps")
        dify.expire()
        dify.refresh.clear()
        await console.get("/apps")

    assert (dify.logins, dify.refreshes) == (2, 1)


async def test_sessions_that_are_never_accepted_end_the_trying():
    dify = Doors()

    async def asked(request: httpx.Request) -> httpx.Response:
        response = await dify(request)
        dify.expire()
        return response

    async with a_console(asked) as console:
        for _ in range(9):
            with pytest.raises(Unauthorized):
                await console.get("/apps")
        assert console.refused
        assert "proxy" in console.refused

    assert dify.logins + dify.refreshes <= 3


async def test_one_endpoint_that_says_401_does_not_stop_the_others():
    dify = Doors()
    dify.behind = lambda request: answer({}, 401) if request.url.path.endswith("/closed") else answer({"data": []})

    async with a_console(dify) as console:
        for _ in range(5):
            with pytest.raises(Unauthorized):
                await console.get("/closed")
            await console.get("/apps")
        assert console.refused is None


async def test_without_a_version_the_password_stays_here():
    dify = Doors(version=None)

    async with a_console(dify) as console:
        with pytest.raises(SettingsError, match="dify_version"):
            await console.get("/apps")
    assert dify.logins == 0

    told = Access(url="http://dify.test", email=EMAIL, password=PASSWORD, version="1.11.1")
    async with a_console(dify, access=told) as console:
        await console.get("/apps")
    assert (dify.logins, dify.wrong) == (1, 0)


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (answer({"code": "forbidden"}, 403), Forbidden),
        (answer({"code": "app_not_found", "message": "App not found."}, 404), NotFound),
        (page(404), NotFound),
        (answer({"code": "invalid_param", "message": "Last workflow run not exists"}, 400), Rejected),
        (answer({}, 405), Rejected),
        (page(500), Unavailable),
        (page(504), Unavailable),
        (page(200), Unavailable),
        (httpx.Response(200, content=b'{"data": [{"id": "4'), Unavailable),
        (httpx.Response(302, headers={"Location": "http://elsewhere.test/signin?token=x"}), Unavailable),
        (answer([1]), ShapeError),
    ],
)
async def test_each_bad_answer_is_an_error_that_says_what_was_asked(response, kind):
    async with a_console(lambda request: response, access=TOKEN) as console:
        with pytest.raises(kind, match="GET /apps/shop/workflow-runs") as caught:
            await console.get("/apps/{app_id}/workflow-runs", app_id="shop")

    assert "token=x" not in str(caught.value)


async def test_a_short_outage_is_waited_out_and_every_try_is_counted():
    answers = [page(502), answer({}, 429, retry_after="0"), page(503), answer({"ok": True})]

    async with a_console(lambda request: answers.pop(0), access=TOKEN, retries=3) as console:
        assert await console.get("/apps") == {"ok": True}
        assert console.requests == {("/apps", "502"): 1, ("/apps", "429"): 1, ("/apps", "503"): 1, ("/apps", "200"): 1}


async def test_an_unreachable_dify_is_unavailable():
    def asked(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with a_console(asked, access=TOKEN) as console:
        with pytest.raises(Unavailable, match="dify_url"):
            await console.get("/apps")
        assert console.requests == {("/apps", "none"): 3}


async def test_a_long_retry_after_is_kept_between_requests():
    now = [0.0]
    sent = []

    def asked(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return answer({}, 429, retry_after="300") if len(sent) == 1 else answer({"ok": True})

    async with a_console(asked, access=TOKEN, clock=lambda: now[0]) as console:
        with pytest.raises(Unavailable) as caught:
            await console.get("/apps")
        assert caught.value.retry_after_seconds == 300
        now[0] = 299.0
        with pytest.raises(Unavailable, match="left alone"):
            await console.get("/apps")
        assert len(sent) == 1
        now[0] = 300.0
        assert await console.get("/apps") == {"ok": True}


async def test_no_more_requests_at_once_than_allowed():
    open_now, most, gate = [0], [0], asyncio.Event()

    async def asked(request: httpx.Request) -> httpx.Response:
        open_now[0] += 1
        most[0] = max(most[0], open_now[0])
        if open_now[0] == 3:
            gate.set()
        await gate.wait()
        open_now[0] -= 1
        return answer({})

    async with a_console(asked, access=TOKEN, concurrency=3) as console:
        await asyncio.gather(*(console.get("/apps") for _ in range(12)))

    assert most[0] == 3


async def test_the_workspace_is_asked_the_new_way_then_the_old_way():
    def old(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return answer({}, 405)
        return answer({"workspaces": [{"id": "w0", "current": False}, {"id": "w1", "current": True}]})

    async with a_console(lambda request: answer({"id": "w2"}), access=TOKEN) as console:
        assert await console.workspace_id() == "w2"
    async with a_console(old, access=TOKEN) as console:
        assert await console.workspace_id() == "w1"
    async with a_console(lambda request: answer({}, 403), access=TOKEN) as console:
        assert await console.workspace_id() is None


@pytest.mark.parametrize(
    ("ways", "word"),
    [
        ({}, "none"),
        ({"token": "s3cret", "admin_key": "s3cret", "workspace_id": "w"}, "exactly one"),
        ({"admin_key": "s3cret"}, "dify_workspace_id"),
        ({"email": "a@b.c"}, "both or neither"),
        ({"token": "s3cret", "url": "dify.test"}, "dify_url"),
        ({"token": "s3cret", "url": "http://me:s3cret@dify.test"}, "dify_url"),
        ({"token": "s3cret", "version": "latest"}, "dify_version"),
    ],
)
def test_settings_that_cannot_sign_in_are_refused_at_once(ways, word):
    with pytest.raises(SettingsError, match=word) as caught:
        Access(**({"url": "http://dify.test"} | ways))
    assert "s3cret" not in str(caught.value)


async def test_no_secret_shows_in_any_repr():
    access = Access(url="http://dify.test", email=EMAIL, password=PASSWORD)
    async with a_console(Doors(), access=access) as console:
        await console.get("/apps")
        shown = repr(access) + repr(vars(console)) + repr(console._session)

    assert PASSWORD not in shown
    assert EMAIL not in shown
    assert "access1" not in shown
    assert "csrf1" not in shown

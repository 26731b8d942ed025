"""A bound key asks: whatever it asks, the answer is that of a store which holds only its apps."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.access import EVERYTHING, Scope, Sight
from collector.faces import reconciliation
from collector.faces.admission import Admission
from collector.faces.guard import seen
from collector.faces.rest import application
from collector.faces.rest_models import Asked
from collector.keyring import Keyring
from collector.measures.catalogue import CATALOGUE
from collector.records import (
    BROKER,
    CONSOLE,
    DATABASE,
    TAP,
    ApiKey,
    Dataset,
    DatasetDay,
    Model,
    PortalEvent,
    PortalValue,
    Pull,
    QueueSample,
    Record,
    Release,
    Request,
    Retrieval,
    Statistic,
    Watermark,
)
from collector.store import Store, open_store
from tests.builders import NOON, a_call, a_conversation, a_feedback, a_message, a_node, a_run, an_app

TOLD: dict[str, Any] = {"source": CONSOLE, "seen_at": NOON}
APPS = {
    "shop": ("w1", "dify", "workflow"),
    "desk": ("w1", "dify", "chat"),
    "flow": ("w2", "lab", "advanced-chat"),
    "talk": ("w3", "lab", "chat"),
}
"""App -> its workspace, its Dify, its mode."""

SIGHTS = [
    Sight(apps=("shop",)),
    Sight(apps=("desk", "flow")),
    Sight(apps=("nobody's",)),
    Sight(workspaces=("w1",)),
    Sight(workspaces=("w2", "w3")),
    Sight(origins=("lab",)),
    Sight(apps=("shop", "flow"), workspaces=("w1",)),
    Sight(workspaces=("w1", "w2"), origins=("lab",)),
]


def of_app(app: str, place: int) -> Iterator[Record]:
    """What happened in one app: a bit of everything, with other numbers in each."""
    workspace, origin, mode = APPS[app]
    at = NOON + timedelta(minutes=7 * place)
    for number in range(place + 1):
        own = {"app_id": app, "created_at": at + timedelta(hours=5 * number)}
        run, message = f"{app} run {number}", f"{app} message {number}"
        user, failed = f"{app} user {number % 2}", number == 1
        status = "failed" if failed else "succeeded"
        yield a_run(**own, id=run, status=status, user_id=user, workspace_id=workspace if number else None)
        yield a_node(**own, id=f"{run} node", run_id=run)
        yield a_call(
            **own,
            id=f"{run} node",
            run_id=run,
            model_name=f"model of {app}",
            tokens=100 + place,
            cost=Decimal(place) / 8 or None,
            is_vision=failed,
        )
        yield a_message(**own, id=message, user_id=user, status=status, conversation_id=f"{app} talk")
        yield a_call(**own, id=message, run_id=None, message_id=message, node_type="message", tokens=10 + place)
        yield a_feedback(**own, id=f"{message}/user", message_id=message, rating="dislike" if failed else "like")
        yield Request(
            **{**TOLD, **own, "source": TAP},
            id=f"{app} request {number}",
            method="POST",
            route="/v1/chat-messages",
            status_code=200,
            run_id=run if failed else None,
            key_fingerprint=f"key of {app}",
        )
        yield Retrieval(**TOLD, **own, id=f"{app} asked {number}", dataset_id=f"kb {workspace}", origin="app")
        told = {**TOLD, **own, "event_source": "/ide", "event_type": f"of {app}", "session_id": user}
        yield PortalEvent(**told, id=f"{app} event {number}", event_id=str(number))
        yield PortalValue(**told, id=f"{app} value {number}", name=f"lines of {app}", number=float(place))
        yield Pull(
            **{**TOLD, **own, "origin": origin, "seconds": 1.0, "requests": 2, "pages": 1, "records": 3},
            id=f"{app} pull {number}",
            stream="runs",
            parse_failures=number,
            is_complete=not failed,
        )
    yield an_app(id=app, name=f"The {app}", mode=mode, workspace_id=workspace, origin=origin)
    yield a_conversation(id=f"{app} talk", app_id=app, created_at=at, messages=place)
    yield ApiKey(**TOLD, id=f"{app} key", app_id=app, fingerprint=f"key of {app}", created_at=at)
    for name in ("messages", "runs", "message_tokens"):
        yield Statistic(
            **TOLD,
            id=f"{app}/{name}",
            app_id=app,
            name=name,
            day="2026-11-20",
            timezone="UTC",
            created_at=NOON.replace(hour=0),
            number=place + 2,
        )


def of_workspace(workspace: str, origin: str) -> Iterator[Record]:
    told = {**TOLD, "workspace_id": workspace}
    yield Dataset(**told, id=f"kb {workspace}", name=f"Books of {workspace}", origin=origin)
    yield DatasetDay(**told, id=f"{workspace} day", dataset_id=f"kb {workspace}", created_at=NOON, documents=3)
    yield Model(**told, id=f"{workspace} model", model_provider="p", model_name=f"m of {workspace}", kind="llm")


def of_dify(origin: str) -> Iterator[Record]:
    yield QueueSample(
        source=BROKER, seen_at=NOON, id=origin, broker=origin, queue="dataset", kind="served", created_at=NOON, ready=4
    )
    yield Pull(
        **TOLD,
        id=f"{origin} apps",
        stream="apps",
        origin=origin,
        created_at=NOON,
        seconds=1.0,
        requests=1,
        pages=1,
        records=1,
        parse_failures=0,
        is_complete=True,
    )


def facts(sight: Sight) -> list[Record]:
    """All facts that belong to what is seen; the rule of `Sight`, told once more and by no SQL."""
    found: list[Record] = []
    for place, (app, (workspace, origin, _)) in enumerate(APPS.items()):
        if _fits(sight, app, workspace, origin):
            found += of_app(app, place)
    for workspace, origin in {(workspace, origin) for workspace, origin, _ in APPS.values()}:
        if _fits(sight, None, workspace, origin):
            found += of_workspace(workspace, origin)
        seen_of_it = any(_fits(sight, app, *place[:2]) for app, place in APPS.items() if place[0] == workspace)
        if seen_of_it:
            told = {**TOLD, "workspace_id": workspace, "created_at": NOON}
            found.append(Release(**told, id=f"release {workspace}", version="1.9.1", number=1_009_001))
    for origin in ("dify", "lab"):
        if _fits(sight, None, None, origin):
            found += of_dify(origin)
    if sight.is_whole:
        found.append(a_run(id="of no app", app_id=None, created_at=NOON))
    return found


def _fits(sight: Sight, app: str | None, workspace: str | None, origin: str) -> bool:
    asked = ((sight.apps, app), (sight.workspaces, workspace), (sight.origins, origin))
    return all(not bound or value in bound for bound, value in asked)


def marks(sight: Sight) -> list[Watermark]:
    seen_of = {app: place[1] for app, place in APPS.items() if _fits(sight, app, *place[:2])}
    found = [
        Watermark(source=CONSOLE, stream=stream, app_id=app, complete_until=NOON + timedelta(hours=place))
        for place, stream in enumerate(("runs", "messages", "conversations", "feedback", "node-executions"))
        for app in seen_of
    ]
    for origin in set(seen_of.values()):
        found += [Watermark(source=DATABASE, stream="runs", app_id="", complete_until=NOON, origin=origin)]
    return found


@cache
def store_of(sight: Sight) -> Store:
    store = open_store(":memory:", now=NOON)
    store.put(facts(sight), marks(sight))
    return store


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    for sight in (EVERYTHING, *SIGHTS):
        with closing(store_of(sight)):
            pass
    store_of.cache_clear()


@cache
def site(sight: Sight) -> tuple[Any, dict[str, str]]:
    """The whole store behind a key with this sight: the application, and the key's header."""
    with closing(open_store(":memory:")) as empty:
        keyring = Keyring(empty.rows, lambda keys: None)
    _, token = keyring.create("team", [Scope.READ], now=NOON, sight=sight)
    return served(store_of(EVERYTHING), Admission(keyring, is_open=False, clock=now)), {
        "Authorization": f"Bearer {token}"
    }


@cache
def alone(sight: Sight) -> Any:
    """The store that holds only what is seen, open to everyone."""
    return served(store_of(sight), None)


def now():
    return NOON + timedelta(days=1)


def served(store: Store, admission: Admission | None) -> Any:
    app = application(seen(store.rows), now, admission=admission)
    app.include_router(reconciliation.router(seen(store.rows), now))
    return app


def asked(app: Any, path: str, params: list[tuple[str, str]], header: dict[str, str]) -> tuple[int, str]:
    """Status and answer, but for where its numbers were read: rollups are settled for all at once."""

    async def ask() -> tuple[int, str]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://collector") as client:
            answer = await client.get(path, params=httpx.QueryParams(params), headers=header)
        return answer.status_code, re.sub(r',"from":"\w+"', "", answer.text)

    return asyncio.run(ask())


DIMENSIONS = [dimension.name for dimension in CATALOGUE.dimensions]
VALUES = ["shop", "flow", "w1", "w2", "dify", "lab", "failed", "", "true", "desk user 0", "' OR TRUE --"]
wheres = st.builds("{}{}:{}".format, st.sampled_from(["", "!"]), st.sampled_from(DIMENSIONS), st.sampled_from(VALUES))
parts = st.lists(
    st.one_of(
        st.tuples(st.just("by"), st.sampled_from(DIMENSIONS)),
        st.tuples(st.just("where"), wheres),
        st.tuples(st.just("grain"), st.sampled_from(["hour", "day", "month"])),
        st.tuples(st.just("since"), st.sampled_from(["all", "2026-11-20", "3h"])),
        st.tuples(st.just("top"), st.sampled_from(["1", "2"])),
        st.tuples(st.just("fill"), st.just("zero")),
        st.tuples(st.just("include_debug"), st.just("true")),
        st.tuples(st.just("format"), st.just("csv")),
    ),
    max_size=4,
    unique_by=lambda part: part[0] if part[0] != "where" else part,
)


@settings(max_examples=150)
@given(st.sampled_from(SIGHTS), st.sampled_from([measure.name for measure in CATALOGUE]), parts)
def test_whatever_it_asks_it_hears_of_its_own_alone(sight: Sight, measure: str, more: list[tuple[str, str]]):
    question = [("measure", measure), *more]
    app, header = site(sight)
    assert asked(app, "/api/v1/query", question, header) == asked(alone(sight), "/api/v1/query", question, {})


@pytest.mark.parametrize("sight", SIGHTS, ids=str)
def test_every_measure_alone_and_by_app(sight: Sight):
    app, header = site(sight)
    for measure in CATALOGUE:
        by = [("by", "app_id")] if any(each.name == "app_id" for each in measure.by) else []
        question = [("measure", measure.name), *by]
        assert asked(app, "/api/v1/query", question, header) == asked(alone(sight), "/api/v1/query", question, {})


@pytest.mark.parametrize("sight", SIGHTS, ids=str)
@pytest.mark.parametrize("more", [[], [("app", "shop")], [("app", "flow")], [("only", "open")]])
def test_reconciliation_and_readiness_too(sight: Sight, more: list[tuple[str, str]]):
    app, header = site(sight)
    for path in ("/api/v1/reconciliation", "/readyz"):
        params = more if path != "/readyz" else []
        assert asked(app, path, params, header) == asked(alone(sight), path, params, {})


def test_there_is_something_to_hide():
    whole = asked(alone(EVERYTHING), "/api/v1/query", [("measure", "tokens")], {})
    assert all(asked(alone(sight), "/api/v1/query", [("measure", "tokens")], {}) != whole for sight in SIGHTS)
    assert set(Asked.model_fields) >= {"measure", "by", "where"}

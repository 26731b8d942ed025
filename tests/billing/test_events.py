"""Bills as events: the same on every replay, whatever the way there loses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from collector.bill_post import BATCH, deliver
from collector.billing.exports import Billed, Form, written
from collector.billing.statement import totals
from collector.errors import DifyMetricError, QueryError, Unavailable
from tests.billing.world import GPT, PAYERS, World, asked, at, january


@pytest.fixture(scope="module")
def billed() -> Iterator[dict[str, Billed]]:
    """A closed January, and a closed February that corrects it."""
    world = World(january(), payers=PAYERS.replace("CC-2", "销售"))
    world.bills.close("2026-01", "finance")
    world.put(*asked("late", "bo", at(1, 20), GPT, input_tokens=50))
    world.price('[[refund]]\ncall = "c1"\nreason = "answered twice"')
    world.now = at(3, 1)
    world.bills.close("2026-02", "finance")
    yield {
        name: Billed(world.bills.lines(name), *world.bills.bounds(name)[:1], "Example Ltd", True)
        for name in ("2026-01", "2026-02")
    }
    world.close()


def events(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


def test_every_line_is_an_event_as_the_standard_wants_it(billed: dict[str, Billed]):
    found = events(written(billed["2026-01"], Form.CLOUDEVENTS))
    assert len(found) == 19
    for event in found:
        assert event["specversion"] == "1.0"
        assert event["type"] == "dify.llm.usage"
        assert event["source"] == "dify-metric/Example-Ltd"
        assert event["time"].endswith("T16:00:00Z"), "midnight in Shanghai"
        assert isinstance(event["data"]["quantity"], int)
    assert {event["subject"] for event in found} == {"CC-1", "销售"}
    assert len({event["id"] for event in found}) == 19


def test_money_is_text_and_sums_to_the_statement(billed: dict[str, Billed]):
    sums: dict[str, Decimal] = {}
    for event in events(written(billed["2026-01"], Form.CLOUDEVENTS)):
        data = event["data"]
        assert isinstance(data["amount"], str)
        if "currency" in data:
            sums[data["currency"]] = sums.get(data["currency"], Decimal(0)) + Decimal(data["amount"])
    assert sums == {total.currency: total.amount for total in totals(billed["2026-01"].lines)}


def test_a_correction_is_a_new_id_that_names_the_old_one(billed: dict[str, Billed]):
    before = {event["id"]: event for event in events(written(billed["2026-01"], Form.CLOUDEVENTS))}
    after = events(written(billed["2026-02"], Form.CLOUDEVENTS))
    found = [event for event in after if event["type"] == "dify.llm.usage.correction"]
    assert len(found) == 4
    assert not {event["id"] for event in after} & set(before)
    taken_back = [event for event in found if event["data"]["quantity"] < 0]
    for event in taken_back:
        old = before[event["data"]["corrects_line"]]
        assert event["data"]["quantity"] == -old["data"]["quantity"]
    assert len(taken_back) == 3


@pytest.mark.parametrize("form", [Form.CLOUDEVENTS, Form.LAGO])
def test_a_replay_is_the_same_to_the_byte(billed: dict[str, Billed], form: Form):
    assert written(billed["2026-02"], form) == written(billed["2026-02"], form)


def test_lago_has_its_own_names_for_it(billed: dict[str, Billed]):
    ours, theirs = (events(written(billed["2026-01"], form)) for form in (Form.CLOUDEVENTS, Form.LAGO))
    for event, lago in zip(ours, theirs, strict=True):
        assert lago["transaction_id"] == event["id"]
        assert lago["external_subscription_id"] == event["subject"]
        assert lago["code"] == "dify_llm_usage"
        assert lago["properties"] == event["data"]
        assert int(lago["timestamp"]) % 86_400 == 16 * 3600


def test_a_month_that_still_changes_is_not_told():
    world = World(january())
    period, is_closed = world.bills.bounds("2026-01")
    with pytest.raises(QueryError, match="close it first"):
        written(Billed(world.bills.lines("2026-01"), period, "x", is_closed), Form.CLOUDEVENTS)
    world.close()


class Meter:
    """Takes events as OpenMeter and Lago do: each id once. Fails as often as it is told."""

    def __init__(self, *failures: int | type[Exception]) -> None:
        self.failures = list(failures)
        self.taken: dict[str, Any] = {}
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        body = json.loads(request.content)
        batch = body["events"] if isinstance(body, dict) else body
        assert len(batch) <= BATCH
        failure = self.failures.pop(0) if self.failures else 204
        if failure in (204, 504):  # taken, though 504 does not say so
            self.taken |= {event.get("id") or event["transaction_id"]: event for event in batch}
        if isinstance(failure, type):
            raise failure("lost")
        return httpx.Response(failure, text="no such meter" if failure == 404 else "")


MANY = b"".join(json.dumps({"id": f"e{n}", "transaction_id": f"e{n}"}).encode() + b"\n" for n in range(250))


def send(meter: Meter, form: str = "cloudevents", content: bytes = MANY) -> int:
    told: list[tuple[str, int, int | None]] = []
    sent = deliver(
        content,
        form,
        "https://meter.example/api/v1/events",
        "s3cret",
        lambda *each: told.append(each),
        transport=httpx.MockTransport(meter),
        backoff_seconds=0.001,
    )
    assert told[-1] == ("events", sent, sent)
    return sent


@pytest.mark.parametrize(
    ("form", "kind"), [("cloudevents", "application/cloudevents-batch+json"), ("lago", "application/json")]
)
def test_events_go_out_in_batches_with_a_key(form: str, kind: str):
    meter = Meter()
    assert send(meter, form) == 250
    assert len(meter.taken) == 250
    assert [len(request.content) > 0 for request in meter.requests] == [True] * 3
    assert {request.headers["content-type"] for request in meter.requests} == {kind}
    assert {request.headers["authorization"] for request in meter.requests} == {"Bearer s3cret"}


def test_what_fails_in_passing_is_sent_again_and_counts_once():
    meter = Meter(503, 504, httpx.ConnectError, 429, httpx.ReadTimeout, 204, 500)
    assert send(meter) == 250
    assert len(meter.taken) == 250
    assert len(meter.requests) > 3


def test_a_meter_that_stays_away_is_told_and_may_be_asked_again():
    meter = Meter(204, *[503] * 20)
    with pytest.raises(Unavailable, match="HTTP 503 after 100 events; send again"):
        send(meter)
    meter.failures.clear()
    assert send(meter) == 250
    assert len(meter.taken) == 250


def test_what_is_refused_is_not_tried_again():
    meter = Meter(404)
    with pytest.raises(DifyMetricError, match="HTTP 404 after 0 events: 'no such meter'"):
        send(meter)
    assert len(meter.requests) == 1


def test_nothing_to_send_sends_nothing():
    meter = Meter()
    assert send(meter, content=b"") == 0
    assert meter.requests == []


def test_an_address_that_is_none_is_told():
    with pytest.raises(QueryError, match="wanted http"):
        deliver(MANY, "cloudevents", "meter.example", None, lambda *_: None)

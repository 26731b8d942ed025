"""The sum of leaves is the truth: whatever is nested in what, whoever tells it, in any order, however often.

`test_a_ledger_that_is_wrong_is_found` holds the property itself to account: each way to get the leaf rule wrong must
show in what it checks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from collector import ledger
from collector.faces.asking import Asker
from collector.faces.rest_models import Asked
from collector.records import ModelCall, Record
from collector.store import estimates
from collector.tap import outcome
from tests.builders import NOON
from tests.collect.shelf import Shelf
from tests.conftest import examples
from tests.truth import tellings
from tests.truth.dify import Dify, Known, Message, Run, every_part
from tests.truth.steps import (
    EVERYTHING,
    SOME_TALKS,
    VERSIONS,
    Call,
    Fate,
    Request,
    Spent,
    Talk,
    Version,
    requests,
    talks,
)
from tests.truth.tellings import Way

Sums: TypeAlias = dict[str, dict[str, Any]]
Told: TypeAlias = list[tuple[Run | Message, list[Way]]]

WHOLE: tuple[Way, ...] = (tellings.console, tellings.database, tellings.stream)
"""Ways that tell everything of a run."""

PARTLY: tuple[Way, ...] = (tellings.unfinished, tellings.cut_stream, tellings.web_stream)
STREAMS = frozenset({tellings.stream, tellings.cut_stream, tellings.web_stream})

COUNTED = ("model_calls", "failed_model_calls")
TOKENS = ("tokens", "input_tokens", "output_tokens", "cached_input_tokens", "reasoning_output_tokens")

worlds = {
    "version": st.sampled_from(VERSIONS),
    "asked": st.lists(requests | talks, min_size=1, max_size=3),
    "chance": st.randoms(use_true_random=False),
}


@examples(0.25)
@given(**worlds)
def test_any_mixture_of_tellings_adds_up_to_what_was_spent(
    version: Version, asked: list[Request | Talk], chance: Random
):
    dify = a_dify(version, asked, chance)
    told = [(part, ways_of(part, chance)) for part in every_part(dify)]

    store = kept(dify, told, chance)

    assert sums(store) == expected(dify, told)
    calls = store.of(ModelCall)
    assert not any(call.is_estimate for call in calls.values())
    assert {call.model_name for call in calls.values()} <= {None, "gpt-4o-mini"}


@examples(0.1)
@given(version=st.sampled_from([(1, 6, 0), (1, 11, 1), (1, 15, 0)]), asked=requests, chance=st.randoms())
def test_an_estimate_is_what_was_spent_until_the_leaves_replace_it(version: Version, asked: Request, chance: Random):
    asked = replace_request(asked, fate=Fate.ENDS, is_debug=False, pauses=False)
    dify = a_dify(version, [asked], chance)
    (run,) = (run for run in dify.runs if not run.is_child)

    store = kept(dify, [(run, [tellings.web_stream])], chance)

    guessed = [call for call in store.of(ModelCall).values() if call.tokens]
    assert [(call.is_estimate, call.tokens) for call in guessed] == ([(True, run.total)] if run.total else [])

    told: Told = [(part, [tellings.console]) for part in every_part(dify)]
    for records in batches(dify, told, chance):
        store.put(records)
    assert sums(store) == expected(dify, told)


# -- every way to be wrong shows


def _counted_whatever_it_is(raw: Any, node: Any, telling: Any, models: Any, real: Any = ledger._call) -> Any:
    """As if every node that tells tokens had called a model."""
    usage = ledger.node_usage(raw)
    if not node.is_final or not usage.tokens or node.node_type in ledger.CALLING_NODES:
        return real(raw, node, telling, models)
    return real(
        raw | {"process_data": {"usage": raw["outputs"]["usage"]}}, replace(node, node_type="llm"), telling, models
    )


def _totals_only(raw: Any) -> Any:
    return ledger.read_usage(raw.get("execution_metadata") or {})


def _first_place(raw: Any, real: Any = ledger.node_usage) -> Any:
    return real({**raw, "outputs": None, "execution_metadata": None})


def _added(raw: Any, real: Any = ledger.read_usage) -> Any:
    """Cached tokens beside the prompt, of which they are a part."""
    usage = real(raw)
    extra = usage.cached_input_tokens or 0
    return replace(usage, tokens=usage.tokens + extra) if usage.tokens else usage


def _of_one_currency(raw: Any, real: Any = ledger.read_usage) -> Any:
    usage = real(raw)
    return replace(usage, currency="USD") if usage.cost is not None else usage


def _rounds_added(raw: Any, real: Any = ledger.node_usage) -> Any:
    log = (raw.get("execution_metadata") or {}).get("agent_log")
    usage = real(raw)
    if not isinstance(log, list):
        return usage
    return replace(usage, tokens=sum(each["metadata"]["total_tokens"] for each in log))


def _by_node_id(raw: Any, telling: Any, real: Any = ledger._node) -> Any:
    """The place in the graph for a key: rounds of a container share it."""
    node = real(raw, telling)
    return replace(node, id=f"{telling.run_id}/{node.node_id}")


MUTATIONS: dict[str, tuple[Any, str, Any]] = {
    "containers are calls": (ledger, "CALLING_NODES", ledger.CALLING_NODES | ledger.CONTAINER_NODES),
    "tools are calls": (ledger, "CALLING_NODES", ledger.CALLING_NODES | {"tool"}),
    "code is a call": (ledger, "CALLING_NODES", ledger.CALLING_NODES | {"code"}),
    "every usage is a call": (ledger, "_call", _counted_whatever_it_is),
    "agents are no calls": (ledger, "CALLING_NODES", ledger.CALLING_NODES - {"agent"}),
    "classifiers are no calls": (ledger, "CALLING_NODES", ledger.CALLING_NODES - {"question-classifier"}),
    "extractors are no calls": (ledger, "CALLING_NODES", ledger.CALLING_NODES - {"parameter-extractor"}),
    "rerankers are no calls": (ledger, "PERHAPS_CALLING_NODES", frozenset()),
    "searches are calls": (ledger, "CALLING_NODES", ledger.CALLING_NODES | {"knowledge-retrieval"}),
    "totals instead of usage": (ledger, "node_usage", _totals_only),
    "usage of process_data only": (ledger, "node_usage", _first_place),
    "cached tokens are added": (ledger, "read_usage", _added),
    "every price is in dollars": (ledger, "read_usage", _of_one_currency),
    "rounds of agents are added": (ledger, "node_usage", _rounds_added),
    "failed calls are left out": (ledger, "FINAL_NODE_STATUSES", ledger.FINAL_NODE_STATUSES - {"failed", "exception"}),
    "unfinished nodes are calls": (ledger, "FINAL_NODE_STATUSES", ledger.FINAL_NODE_STATUSES | {"running"}),
    "rounds of containers are one": (ledger, "_node", _by_node_id),
    "estimates stay": (estimates, "_OUTLIVED", f"SELECT * FROM ({estimates._OUTLIVED}) WHERE FALSE"),
    "estimates go at once": (estimates, "_OUTLIVED", "SELECT place, id FROM named_estimates WHERE $low < $high"),
    "messages of flows are calls": (outcome.Outcome, "is_flow", property(lambda self: False)),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_ledger_that_is_wrong_is_found(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(*MUTATIONS[name])

    assert any(not holds(version) for version in (VERSIONS[-1], VERSIONS[0], *VERSIONS))


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: ".".join(map(str, version)))
def test_a_ledger_that_is_right_is_not(version: Version):
    assert holds(version)


def holds(version: Version) -> bool:
    """Whether everything there is, told by every way in turn and by all of them, adds up."""
    ways = [[way] for way in WHOLE] + [[tellings.web_stream, tellings.console], [*WHOLE, *PARTLY]]
    for place, some in enumerate(ways):
        chance = Random(place)
        dify = a_dify(version, [*EVERYTHING, *SOME_TALKS], chance)
        told = [(part, possible(part, some) or [tellings.console]) for part in every_part(dify)]
        try:
            if sums(kept(dify, told, chance)) != expected(dify, told):
                return False
        except (AssertionError, AttributeError, KeyError, TypeError):
            return False
    return is_estimated(version)


def is_estimated(version: Version) -> bool:
    """Whether a run whose nodes told nothing stands for what it spent."""
    chance = Random(1)
    dify = a_dify(version, [Request((Call("llm", Spent(8, 1)), Call("llm", Spent(5, 2))))], chance)
    calls = kept(dify, [(dify.runs[0], [tellings.web_stream])], chance).of(ModelCall).values()
    return [(call.tokens, call.is_estimate) for call in calls if call.tokens] == [(16, True)]


# -- how it is told


def a_dify(version: Version, asked: Iterable[Request | Talk], chance: Random) -> Dify:
    dify = Dify(version, chance)
    for one in asked:
        if isinstance(one, Request):
            dify.ask(one)
        else:
            dify.talk(one)
    return dify


def replace_request(request: Request, **changes: Any) -> Request:
    return Request(**{**request.__dict__, **changes})


def possible(part: Run | Message, ways: Iterable[Way]) -> list[Way]:
    """Streams are heard of what somebody asked for through a tap; an app without nodes has one kind of them."""
    if isinstance(part, Message):
        return [way for way in ways if way not in (tellings.web_stream, tellings.unfinished)]
    return [way for way in ways if way not in STREAMS or not (part.is_child or part.is_debug)]


def ways_of(part: Run | Message, chance: Random) -> list[Way]:
    """Some ways in some order, some of them twice; one of them at least tells everything."""
    whole, partly = possible(part, WHOLE), possible(part, PARTLY)
    chosen = [chance.choice(whole), *chance.sample([*whole, *partly], chance.randint(0, len(whole)))]
    return [*chosen, *chance.sample(chosen, chance.randint(0, len(chosen)))]


def batches(dify: Dify, told: Told, chance: Random) -> list[list[Record]]:
    """What is told of everything, record by record in any order, in batches of any size."""
    records = [
        record
        for part, ways in told
        for way in ways
        for record in way(dify, part, NOON + timedelta(minutes=chance.randint(1, 600)))
    ]
    chance.shuffle(records)
    cuts = sorted(chance.randint(0, len(records)) for _ in range(chance.randint(0, 4)))
    return [records[low:high] for low, high in pairwise([0, *cuts, len(records)])]


def kept(dify: Dify, told: Told, chance: Random) -> Shelf:
    store = Shelf()
    for records in batches(dify, told, chance):
        store.put(records)
    return store


# -- what is compared


def sums(store: Shelf) -> Sums:
    """By app, as a face answers: calls, tokens of every kind, and money by its currency; of tests apart."""
    found: Sums = {}
    for include_debug in (False, True):
        for measures, by in (((*COUNTED, *TOKENS), ["app_id"]), (("cost",), ["app_id", "currency"])):
            for row in ask(store, measures, by, include_debug):
                place = found.setdefault(f"{row['app_id']}{' with tests' if include_debug else ''}", {})
                for name in measures:
                    key = f"{name} {row['currency']}" if name == "cost" else name
                    if value := Decimal(str(row[name] or 0)):
                        place[key] = value
    return {place: values for place, values in found.items() if values}


def ask(store: Shelf, measures: tuple[str, ...], by: list[str], include_debug: bool) -> list[dict[str, Any]]:
    question = Asked(measure=list(measures), by=by, tz="UTC", include_debug=include_debug)
    answer = Asker(store.rows, NOON + timedelta(days=3)).answered(question)
    found: list[dict[str, Any]] = answer.plain()["rows"]  # type: ignore[assignment]
    return found


def expected(dify: Dify, told: Told) -> Sums:
    """The same, of what Dify knows and told."""
    found: dict[str, Counter[str]] = {}
    talks = {message.id: message for message in dify.messages if message.run_id is None}
    ways = {part.id: set(how) for part, how in told}
    for known in dify.known.values():
        if known.id in talks:
            values = _talk_values(talks[known.id], known, ways[known.id])
        else:
            values = _values(known)
        for place in [known.app_id] * (not known.is_debug) + [f"{known.app_id} with tests"]:
            found.setdefault(place, Counter()).update(values)
    return {place: {n: v for n, v in values.items() if v} for place, values in found.items() if any(values.values())}


def _values(known: Known) -> dict[str, Any]:
    spent = known.spent
    if spent is None:
        return {"model_calls": 1, "failed_model_calls": 1}
    values = {"model_calls": 1, "tokens": spent.total, f"cost {spent.currency}": Decimal(spent.price) / 10**7}
    if known.has_split:
        values |= {"input_tokens": spent.asked, "output_tokens": spent.answered}
        values |= {"cached_input_tokens": spent.cached or 0, "reasoning_output_tokens": spent.reasoning or 0}
    return values


def _talk_values(message: Message, known: Known, ways: set[Way]) -> dict[str, Any]:
    """Of an answer whose caller left only the tap knows; the console tells no prices, and details only the stream."""
    has_failed = message.status == "error"
    if not ways & ({tellings.stream} if message.fate is Fate.LEFT and not has_failed else set(WHOLE)):
        return {}
    if known.spent is None:
        return {"model_calls": 1, "failed_model_calls": int(has_failed)}
    values = _values(known)
    if tellings.stream not in ways:
        values |= {"cached_input_tokens": 0, "reasoning_output_tokens": 0}
        if tellings.database not in ways:
            values[f"cost {known.spent.currency}"] = 0
    return values

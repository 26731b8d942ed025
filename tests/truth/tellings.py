"""The same rows told in every way there is: console lists, streams of that version, rows of the database.

What comes in is a Dify that has lived; what goes out are our records, made by the very readings that pulls, the tap and
the database source use.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from msgspec.structs import replace

from collector.ledger import CALLING_NODES, CONTAINER_NODES, TOOL, Telling, graph_models
from collector.pull.database import messages as message_rows
from collector.pull.database import runs as run_rows
from collector.pull.database.nodes import read_nodes
from collector.pull.database.values import CUT
from collector.pull.parse import leaf_facts, message_facts, run_facts
from collector.records import CONSOLE, DATABASE, TAP, Record
from collector.tap.usage import Stream
from tests.builders import NOON
from tests.tap.streams import Event, event, finished, message_end, piece, started, wire
from tests.truth.dify import MODEL, PROVIDER, Dify, Json, Message, Moment, Node, Run
from tests.truth.steps import Fate

AT = int(NOON.timestamp())
LONG_AFTER = NOON + timedelta(days=2)
FINAL = ("succeeded", "failed", "exception")

Way: TypeAlias = "Callable[[Dify, Run | Message, datetime], list[Record]]"


# -- the console


def console(dify: Dify, part: Run | Message, seen_at: datetime) -> list[Record]:
    """A pull through the API."""
    if isinstance(part, Message):
        return _console_message(part, seen_at)
    telling = _telling(CONSOLE, part, seen_at)
    raw = {"id": part.id, "version": "draft" if part.is_debug else "1", **_run_json(part)}
    (run,) = run_facts(raw, telling, "debugging" if part.is_debug else "app-run")
    models = graph_models(graph_json(part))
    nodes = leaf_facts([_node_json(node) for node in part.nodes], telling, models)
    read = [replace(run, leaves_known=True)] if part.status != "running" else []
    found = [run, *nodes, *read]
    return found + (_console_message(part.message, seen_at) if part.message else [])


def unfinished(dify: Dify, part: Run | Message, seen_at: datetime) -> list[Record]:
    """A pull that came while it ran: nothing has ended."""
    if isinstance(part, Message):
        return []
    raw = {"id": part.id, "version": "1", "status": "running", "total_tokens": 0, "created_at": AT}
    telling = _telling(CONSOLE, part, NOON)
    return run_facts(raw, telling, "debugging" if part.is_debug else "app-run")


def _console_message(message: Message, seen_at: datetime) -> list[Record]:
    telling = Telling(source=CONSOLE, seen_at=max(seen_at, LONG_AFTER), app_id=message.app_id)
    raw = {
        "id": message.id,
        "conversation_id": message.conversation_id,
        "workflow_run_id": message.run_id,
        "from_source": "api",
        "status": message.status,
        "error": message.error,
        "answer": message.answer,
        "message_tokens": message.tokens[0],
        "answer_tokens": message.tokens[1],
        "provider_response_latency": message.latency,
        "metadata": {"usage": message.usage if message.run_id and sum(message.tokens) else None},
        "agent_thoughts": [{"tokens": sum(message.tokens)}] * message.thoughts,
        "created_at": AT,
    }
    return message_facts(raw, telling, message.mode, conversation=None, model=None, open_for=timedelta(minutes=10))


def _run_json(run: Run) -> Json:
    return {
        "status": run.status,
        "error": run.error,
        "elapsed_time": 2.0,
        "total_tokens": run.total,
        "total_steps": len(run.nodes),
        "created_at": AT,
        "finished_at": None if run.status == "running" else AT + 2,
    }


def _node_json(node: Node) -> Json:
    return {
        "id": node.id,
        "node_id": node.node_id,
        "node_type": node.kind,
        "title": node.kind,
        "status": node.status,
        "error": node.error,
        "process_data": node.process,
        "outputs": node.outputs,
        "execution_metadata": node.metadata,
        "elapsed_time": 1.0,
        "created_at": AT,
        "finished_at": AT + 1 if node.status in FINAL else None,
    }


def graph_json(run: Run) -> Json:
    model = {"provider": PROVIDER, "name": MODEL}
    own = {"agent": {"agent_parameters": {"model": {"type": "constant", "value": model}}}}
    return {"nodes": [{"id": node.node_id, "data": own.get(node.kind, {"model": model})} for node in run.nodes]}


def _telling(source: str, run: Run, seen_at: datetime) -> Telling:
    message = run.message
    return Telling(
        source=source,
        seen_at=seen_at,
        app_id=run.app_id,
        run_id=run.id,
        message_id=message.id if message else None,
        conversation_id=message.conversation_id if message else None,
        is_debug=run.is_debug,
    )


# -- the database


def database(dify: Dify, part: Run | Message, seen_at: datetime) -> list[Record]:
    """A pull out of the tables."""
    if isinstance(part, Message):
        return _database_message(part, seen_at)
    message = part.message
    role = "end_user"
    row = (
        *(part.id, "ws", part.app_id, "w1", "1", "debugging" if part.is_debug else "app-run", part.status, part.error),
        *(2.0, part.total, len(part.nodes), 0, role, "u1", "anna"),
        *((message.id, message.conversation_id) if message else (None, None)),
        *(NOON, None if part.status == "running" else NOON + timedelta(seconds=2), True),
    )
    run = run_rows.run(row, Telling(source=DATABASE, seen_at=seen_at), NOON - timedelta(days=1))
    rows = [_row(dify, part, node) for node in part.nodes]
    texts = {node.id: (_text(node.process), _text(node.outputs)) for node in part.nodes}
    leaves = read_nodes(rows, DATABASE, seen_at, lambda ids: {key: texts[key] for key in ids})
    assert not leaves.unread
    read = [replace(run, leaves_known=True)] if part.status != "running" else []
    return [run, *leaves.records, *read, *(_database_message(message, seen_at) if message else [])]


def _row(dify: Dify, run: Run, node: Node) -> tuple[Any, ...]:
    message = run.message
    is_over = node.status in FINAL
    process, outputs = _sent(node) if is_over else (None, None)
    if process and len(process) > 100 and dify.chance.random() < 0.3:
        process = CUT + process[:64] + CUT + process[-600:]
    if outputs and dify.chance.random() < 0.3:
        outputs = CUT if dify.chance.random() < 0.5 else CUT + outputs[:64] + CUT + outputs[-40:]
    return (
        *(node.id, "ws", run.app_id, run.id),
        *((message.id, message.conversation_id) if message else (None, None)),
        *(run.is_debug, node.node_id, node.kind, node.kind, node.status, node.error, 1.0),
        *(json.dumps(node.metadata), NOON, NOON + timedelta(seconds=1) if is_over else None, process, outputs),
    )


def _sent(node: Node) -> tuple[bytes | None, bytes | None]:
    """What the server sends of a row's texts: nothing where no model can have been called."""
    process, outputs = _text(node.process), _text(node.outputs)
    may_call = node.kind in {*CALLING_NODES, "knowledge-retrieval"} or (
        node.kind not in {TOOL, *CONTAINER_NODES} and b'"model_name"' in (process or b"")
    )
    if not may_call:
        return None, None
    return process, outputs if b'_tokens"' in (outputs or b"") else None


def _text(value: Json | None) -> bytes | None:
    return None if value is None else json.dumps(value, ensure_ascii=False).encode()


def _database_message(message: Message, seen_at: datetime) -> list[Record]:
    """A price where something was counted; no model where a workflow answered."""
    spent = message.is_priced and sum(message.tokens) > 0
    price = message.usage["total_price"] if spent and message.usage else 0
    currency = message.usage["currency"] if spent and message.usage else "USD"
    model = (PROVIDER, MODEL) if message.run_id is None else (None, None)
    row = (
        *(message.id, "ws", message.app_id, message.conversation_id, message.run_id, message.mode, message.status),
        *(message.error, "service-api", "api", "u1", None, "anna", message.answer == "", *message.tokens),
        *(message.latency, price, currency, *model, "[{}]", None, NOON),
        *(None, None, None, None),  # of rounds of agents: the message itself tells what they came to
    )
    return list(message_rows.message(row, Telling(source=DATABASE, seen_at=seen_at), NOON + timedelta(minutes=10)))


# -- streams


def stream(dify: Dify, part: Run | Message, seen_at: datetime) -> list[Record]:
    """The service API's stream, heard from its start to its end."""
    return _heard(dify, part, seen_at, _sessions(dify, part))


def cut_stream(dify: Dify, part: Run | Message, seen_at: datetime) -> list[Record]:
    """A stream that broke off somewhere."""
    first, *_ = _sessions(dify, part)
    return _heard(dify, part, seen_at, [first[: dify.chance.randrange(len(first))]], is_whole=False)


def web_stream(dify: Dify, part: Run | Message, seen_at: datetime) -> list[Record]:
    """The stream of a web app: nodes come without anything inside, totals as ever."""
    sessions = [
        [_hollow(each) if each["event"] in _NODE_EVENTS else each for each in session]
        for session in _sessions(dify, part)
    ]
    return _heard(dify, part, seen_at, sessions)


_NODE_EVENTS = frozenset(("node_started", "node_retry", "node_finished", "iteration_completed", "loop_completed"))


def _hollow(told: Event) -> Event:
    inside = dict.fromkeys(("inputs", "process_data", "outputs", "execution_metadata"))
    return {**told, "data": {**told["data"], **inside}}


def _heard(
    dify: Dify, part: Run | Message, seen_at: datetime, sessions: list[list[Event]], *, is_whole: bool = True
) -> list[Record]:
    found: list[Record] = []
    for events in sessions:
        telling = Telling(source=TAP, seen_at=seen_at, app_id=part.app_id, is_debug=False)
        mode = part.mode if isinstance(part, Message) else ("advanced-chat" if part.message else "workflow")
        one = Stream(telling, mode=mode, invoke_from="service-api")
        body = wire(events, spaced=dify.version < (1, 9))
        while body:
            size = dify.chance.choice([7, 60, 1400, 10**6])
            one.feed(body[:size])
            body = body[size:]
        fate = part.fate if isinstance(part, Message) else part.request.fate
        found += one.close(is_stopped=is_whole and fate is Fate.STOPPED)
        assert not one.failures
    return found


def _sessions(dify: Dify, part: Run | Message) -> list[list[Event]]:
    if isinstance(part, Message):
        return [list(_talk_events(part))]
    message = part.message.id if part.message else None
    nodes = [{**_node_event(moment), "workflow_run_id": part.id} for moment in part.moments]
    if message:
        nodes = [{**each, "message_id": message, "conversation_id": part.message.conversation_id} for each in nodes]  # type: ignore[union-attr]
    if (0, 8) <= dify.version < (1, 9):
        nodes.insert(0, event("parallel_branch_started", run=part.id, data={"parallel_id": "p", "created_at": AT}))
    inputs = {"sys.app_id": part.app_id, "sys.user_id": "anna"}
    begin, end = started(run=part.id, message=message, inputs=inputs), _end(dify, part, message)
    if not part.request.pauses or dify.version < (1, 13):
        return [[begin, *nodes, *end]]
    # a pause: the run goes on in another stream, which repeats what had ended without its usage
    place = dify.chance.randint(0, len(nodes))
    before, after = nodes[:place], nodes[place:]
    paused = [
        event("human_input_required", run=part.id, data={"form_id": "f"}),
        event(
            "workflow_paused", run=part.id, message=message, data={"id": part.id, "status": "paused", "total_tokens": 1}
        ),
    ]
    again = [_hollow(each) for each in before if each["event"] == "node_finished"]
    resumed = started(run=part.id, message=message, inputs=inputs, reason="resumption")
    return [[begin, *before, *paused], [{"event": "ping"}, resumed, *again, *after, *end]]


def _end(dify: Dify, run: Run, message: str | None) -> list[Event]:
    spent = sum(usage.total for usage in run.usages)
    if run.request.fate is Fate.ABORTED:
        last = finished(0, run=run.id, message=message, status="failed", error=run.error, created_by={})
    elif run.request.fate is Fate.STOPPED:
        last = finished(spent, run=run.id, message=message, status="stopped")
    else:
        last = finished(run.total, run=run.id, message=message, status=run.status, error=run.error)
    if run.message is None:
        return [last]
    if run.status == "failed":
        return [last, event("error", run=None, message=message, status=400, code="invalid_param", message_="failed")]
    metadata = message_end(run.message.usage, message=message, run=None)
    return [last, metadata] if dify.version < (0, 8) else [metadata, last]


def _node_event(moment: Moment) -> Event:
    node = moment.node
    data = _node_json(node) | {"index": 1}
    if moment.what == "start":
        return event("node_started", data=_without(data, "running"))
    if moment.what == "retry":
        return event("node_retry", data={**_without(data, "retry"), "retry_index": 1, "error": "429"})
    if node.kind in CONTAINER_NODES:
        steps = {"steps": 2, "total_tokens": (node.metadata or {}).get("total_tokens")}
        return event(f"{node.kind}_completed", data={**data, **steps, "id": node.node_id})
    return event("node_finished", data=data)


def _without(data: Json, status: str) -> Json:
    inside = dict.fromkeys(("process_data", "outputs", "execution_metadata", "finished_at", "error"))
    return {**data, **inside, "status": status}


def _talk_events(message: Message) -> Iterator[Event]:
    usage = message.usage
    for number in range(1, message.thoughts + 1):  # the same thought, again and again as it fills
        tokens = sum(message.tokens) * number // message.thoughts
        yield event("agent_thought", run=None, message=message.id, id="t1", thought="…", tokens=tokens)
    if message.status != "error":
        yield piece("…", message=message.id)
    if message.status == "error":
        yield event("error", run=None, message=message.id, status=400, code="invalid_param")
    else:
        nothing = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "total_price": "0", "currency": "USD"}
        yield {**message_end(usage or nothing, message=message.id), "conversation_id": message.conversation_id}

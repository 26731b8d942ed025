"""One request as the stream of events its caller reads, and as the single JSON of a blocking answer.

What comes in is a plan; what goes out are beats: how long to wait, what happens to the world meanwhile, and the events
to send. Nothing here sleeps or knows sockets; `service` plays the beats.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta

import msgspec

from collector.demo.nodes import no_usage_json, node_contents, node_metadata, run_inputs, usage_json
from collector.demo.plan import CONTAINERS, Plan
from collector.demo.rows import EndUser, Json, Model, Node, Run, Usage, epoch
from collector.demo.shapes import tool_labels
from collector.demo.timeline import timeline
from collector.demo.world import World

_PIECE = 6  # characters of an answer told at a time


class Beat(msgspec.Struct, frozen=True):
    """One step of a stream."""

    seconds: float  # since the request came in
    events: list[Json]
    happen: Callable[[], None] | None = None
    piece: str = ""  # of the answer


def encoded(event: Json, *, is_compact: bool) -> bytes:
    """One event as it goes over the wire; versions before 1.9 wrote blanks and escapes."""
    if is_compact:
        return b"data: " + msgspec.json.encode(event) + b"\n\n"
    return f"data: {json.dumps(event)}\n\n".encode()


def beats(world: World, plan: Plan) -> Iterator[Beat]:
    """The stream of a plan, from its beginning to its end."""
    if plan.run:
        yield from _run_beats(world, plan, plan.run)
    else:
        yield from _answer_beats(world, plan)


def stopped_events(plan: Plan, seconds: float, first: float | None) -> list[Json]:
    """What the caller reads after stopping: the stream says stopped, whatever the row says."""
    events: list[Json] = []
    if plan.run:
        ending: Json = {
            "status": "stopped",
            "outputs": {},
            "error": "Stopped by user.",
            "elapsed_time": round(seconds, 6),
            "total_tokens": 0,
            "total_steps": 2,
        }
        events.append(_event(plan, "workflow_finished", data=_finished(plan, plan.run, ending, seconds, 0)))
    if plan.message:
        model, generate = plan.message.model, round(seconds - first, 3) if first else None
        usage = no_usage_json(first, generate) if plan.run or model is None else _unused(model, seconds)
        events.append(_message_end(plan, usage))
    return events


def blocking_json(plan: Plan) -> Json:
    """The whole answer of a request that ended well, or of a workflow however it ended."""
    if plan.message and plan.message_end:
        usage = _usage_told(plan)
        ids: Json = {"message_id": plan.message.id, "conversation_id": plan.message.conversation_id}
        if plan.app.mode == "completion":
            del ids["conversation_id"]
        return {
            "event": "message",
            "task_id": plan.task_id,
            "id": plan.message.id,
            **ids,
            "mode": plan.app.mode,
            "answer": plan.message_end.answer,
            "metadata": {"annotation_reply": None, "retriever_resources": [], "usage": usage},
            "created_at": epoch(plan.message.created_at),
        }
    run, end = plan.run, plan.run_end
    if run is None or end is None:
        return {}
    names = ("status", "outputs", "error", "elapsed_time", "total_tokens", "total_steps")
    return {
        "task_id": plan.task_id,
        "workflow_run_id": run.id,
        "data": {
            "id": run.id,
            "workflow_id": run.workflow_id,
            **{name: getattr(end, name) for name in names},
            "created_at": epoch(run.created_at),
            "finished_at": epoch(end.finished_at),
        },
    }


# Workflows and chatflows


def _run_beats(world: World, plan: Plan, run: Run) -> Iterator[Beat]:
    speaking = _speaking_node(plan)
    for moment in timeline(world, plan):
        at = (moment.at - plan.at).total_seconds()
        if moment.kind == "begun":
            started: Json = {"id": run.id, "workflow_id": run.workflow_id, "inputs": _first_inputs(plan, run)}
            event = _event(plan, "workflow_started", data={**started, "created_at": epoch(run.created_at)})
            yield Beat(at, [event], moment.happen)
        elif moment.kind == "node_started" and moment.node:
            if plan.app.mode == "workflow" and moment.node.stage.type == "end":
                yield from _pieces(plan, speaking, at, at)
            yield Beat(at, _start_events(plan, moment.node), moment.happen)
            if moment.node is speaking and plan.message:
                usage = speaking.usage
                first, took = (usage.time_to_first_token or 0.0, usage.latency) if usage else (0.0, 0.0)
                yield from _pieces(plan, speaking, at + first, at + took)
        elif moment.kind == "node_finished" and moment.node:
            yield Beat(at, _end_events(plan, run, moment.node), moment.happen)
        else:
            yield Beat(at, _last_events(plan, run), moment.happen)


def _speaking_node(plan: Plan) -> Node | None:
    """The node whose words the caller reads: the last model that answered."""
    return next((node for node in reversed(plan.nodes) if node.stage.type == "llm" and node.usage), None)


def _pieces(plan: Plan, node: Node | None, start: float, end: float) -> Iterator[Beat]:
    if node is None:
        return
    parts = [plan.answer[place : place + _PIECE] for place in range(0, len(plan.answer), _PIECE)]
    selector = [node.stage.id, "text"]
    for place, part in enumerate(parts):
        at = start + (end - start) * place / len(parts)
        if plan.message:
            event = _event(plan, "message", id=plan.message.id, answer=part, from_variable_selector=selector)
            event.pop("workflow_run_id", None)
        else:
            event = _event(plan, "text_chunk", data={"text": part, "from_variable_selector": selector})
        yield Beat(at, [event], None, part)


def _start_events(plan: Plan, node: Node) -> list[Json]:
    stage, at = node.stage, epoch(node.created_at)
    if stage.type in CONTAINERS:
        opening: Json = {
            "metadata": {f"{stage.type}_length": len(node.rounds)},
            "inputs": {},
            "inputs_truncated": False,
        }
        return [_event(plan, f"{stage.type}_started", data={**_container(node), **opening})]
    events: list[Json] = []
    if stage.inside and _is_first_of_round(plan, node):
        container = next(other for other in plan.nodes if other.stage.id == stage.inside)
        turn: Json = {**_container(container), "index": node.inside_index, "created_at": at}
        events.append(_event(plan, f"{stage.inside_type}_next", data=turn))
    started: Json = {
        **_node_head(node),
        "inputs": None,
        "inputs_truncated": False,
        "created_at": at,
        "extras": {},
        **_inside(node),
        "agent_strategy": None,
    }
    return [*events, _event(plan, "node_started", data=started)]


def _end_events(plan: Plan, run: Run, node: Node) -> list[Json]:
    contents, metadata = node_contents(_as_run_will_be(node, run, plan), run), node_metadata(node)
    if plan.run_end and node.stage.type == "end":
        contents = {"inputs": plan.run_end.outputs, "process_data": {}, "outputs": plan.run_end.outputs}
    if node.stage.type in CONTAINERS:
        return [_event(plan, f"{node.stage.type}_completed", data=_completed(node, contents, metadata))]
    finished: Json = {
        **_node_head(node),
        **{key: value for name in _CONTENTS for key, value in ((name, contents[name]), (f"{name}_truncated", False))},
        "status": node.status,
        "error": node.error,
        "elapsed_time": node.elapsed,
        "execution_metadata": metadata or None,
        "created_at": epoch(node.created_at),
        "finished_at": epoch(node.finished_at),
        "files": [],
        **_inside(node),
    }
    blank: Json = {"process_data": {}, "outputs": {}, "execution_metadata": None}
    attempt: Json = {**finished, **blank, "status": "retry", "error": node.error or "[model] Connection Error"}
    retries = [
        _event(plan, "node_retry", data={**attempt, "retry_index": number}) for number in range(1, node.retries + 1)
    ]
    return [*retries, _event(plan, "node_finished", data=finished)]


_CONTENTS = ("inputs", "process_data", "outputs")


def _last_events(plan: Plan, run: Run) -> list[Json]:
    end = plan.run_end
    if end is None:
        return []
    names = ("status", "outputs", "error", "elapsed_time", "total_tokens", "total_steps")
    ending: Json = {name: getattr(end, name) for name in names}
    data = _finished(plan, run, ending, end.elapsed_time, end.exceptions_count)
    events = [_event(plan, "workflow_finished", data=data)]
    if plan.message and plan.message_end:
        if plan.message_end.error:
            events.append(_error(plan, "invalid_param", plan.message_end.error))
        else:
            events.append(_message_end(plan, _usage_told(plan)))
    return events


def _finished(plan: Plan, run: Run, ending: Json, seconds: float, exceptions: int) -> Json:
    by = run.created_by
    return {
        "id": run.id,
        "workflow_id": run.workflow_id,
        **ending,
        "created_by": {"id": by.id, "user": by.session_id if isinstance(by, EndUser) else by.name},
        "created_at": epoch(run.created_at),
        "finished_at": epoch(plan.at + timedelta(seconds=seconds)),
        "exceptions_count": exceptions,
        "files": [],
    }


def _completed(node: Node, contents: Json, metadata: Json) -> Json:
    durations = {str(place): seconds for place, seconds in enumerate(node.rounds)}
    return {
        **_container(node),
        "outputs": contents["outputs"],
        "outputs_truncated": False,
        "inputs": contents["inputs"],
        "inputs_truncated": False,
        "status": node.status,
        "error": node.error,
        "elapsed_time": node.elapsed,
        "total_tokens": node.usage.total_tokens if node.usage else 0,
        "execution_metadata": {**metadata, f"{node.stage.type}_duration_map": durations},
        "finished_at": epoch(node.finished_at),
        "steps": len(node.rounds),
    }


def _container(node: Node) -> Json:
    """A container's own id is not told: its node's stands there."""
    stage = node.stage
    head: Json = {"id": stage.id, "node_id": stage.id, "node_type": stage.type, "title": stage.title}
    return {**head, "created_at": epoch(node.created_at), "extras": {}}


def _node_head(node: Node) -> Json:
    stage = node.stage
    names: Json = {"id": node.id, "node_id": stage.id, "node_type": stage.type, "title": stage.title}
    return {**names, "index": 1, "predecessor_node_id": None}


def _inside(node: Node) -> Json:
    word = node.stage.inside_type
    return {"iteration_id": None, "loop_id": None, **({f"{word}_id": node.stage.inside} if node.stage.inside else {})}


def _is_first_of_round(plan: Plan, node: Node) -> bool:
    same = (n for n in plan.nodes if n.stage.inside == node.stage.inside and n.inside_index == node.inside_index)
    return next(same).id == node.id


def _first_inputs(plan: Plan, run: Run) -> Json:
    told = run_inputs(run)
    del told["sys.timestamp"]
    return {**told, "sys.query": plan.query, "sys.dialogue_count": plan.turn + 1} if plan.message else told


def _as_run_will_be(node: Node, run: Run, plan: Plan) -> Node:
    """The answer node says what the plan answers; others are as they are."""
    return msgspec.structs.replace(node, text=plan.answer) if node.stage.type == "answer" else node


# Chat, completion and agent apps


def _answer_beats(world: World, plan: Plan) -> Iterator[Beat]:
    message, end = plan.message, plan.message_end
    if message is None or end is None:
        return
    moments = timeline(world, plan)
    yield Beat(0.0, [], moments[0].happen)
    if end.error:
        yield Beat(0.3, [_error(plan, "completion_request_error", end.error)], moments[-1].happen)
        return
    usage, kind = plan.usage, "agent_message" if end.thoughts else "message"
    first = (usage.time_to_first_token or 0.0) if usage else 0.0
    for place in range(len(end.thoughts)):
        yield Beat(first * (place + 1) / 2, _thought_events(plan, place))
    parts = [plan.answer[place : place + _PIECE] for place in range(0, len(plan.answer), _PIECE)]
    took = usage.latency if usage else first
    for place, part in enumerate(parts):
        event = _event(plan, kind, id=message.id, answer=part)
        if kind == "message":
            event["from_variable_selector"] = None
        yield Beat(first + (took - first) * place / len(parts), [event], None, part)
    yield Beat(end.provider_response_latency, [_message_end(plan, _usage_told(plan))], moments[-1].happen)


def _thought_events(plan: Plan, place: int) -> list[Json]:
    """A round of an agent, told again as it fills."""
    thought = plan.message_end.thoughts[place] if plan.message_end else None
    if thought is None:
        return []
    told: Json = {
        "id": thought.id,
        "position": thought.position,
        "thought": thought.thought,
        "observation": thought.observation,
        "tool": thought.tool,
        "tool_labels": tool_labels(thought),
        "tool_input": thought.tool_input,
        "message_files": [],
    }
    empty: Json = {**told, "thought": "", "observation": "", "tool": "", "tool_labels": {}, "tool_input": ""}
    return [_event(plan, "agent_thought", **empty), _event(plan, "agent_thought", **told)]


# Parts of every event


def _event(plan: Plan, kind: str, **rest: object) -> Json:
    head: Json = {"event": kind}
    if plan.message:
        if plan.app.mode != "completion":
            head["conversation_id"] = plan.message.conversation_id
        head |= {"message_id": plan.message.id, "created_at": epoch(plan.message.created_at), "task_id": plan.task_id}
        if plan.run and "data" in rest:
            head["workflow_run_id"] = plan.run.id
    elif plan.run:
        head |= {"workflow_run_id": plan.run.id, "task_id": plan.task_id}
    return {**head, **rest}


def _error(plan: Plan, code: str, message: str) -> Json:
    event = _event(plan, "error", code=code, status=400, message=message)
    del event["task_id"]
    return event


def _message_end(plan: Plan, usage: Json) -> Json:
    message_id = plan.message.id if plan.message else None
    metadata: Json = {"annotation_reply": None, "retriever_resources": [], "usage": usage}
    return _event(plan, "message_end", id=message_id, metadata=metadata, files=[] if plan.run else None)


def _usage_told(plan: Plan) -> Json:
    """The usage of `message_end`; apps without a workflow tell the whole request as its latency."""
    usage: Usage | None = plan.usage
    if usage is None:
        return no_usage_json()
    told = usage_json(usage)
    if plan.run is None and plan.message_end:
        told["latency"] = plan.message_end.provider_response_latency
    return told


def _unused(model: Model, seconds: float) -> Json:
    """What a stopped answer of a chat app says it used: nothing, at this price."""
    prices: Json = dict.fromkeys(("prompt_price", "completion_price", "total_price"), "0E-7")
    units: Json = {
        "prompt_unit_price": str(model.input_price),
        "prompt_price_unit": str(model.price_unit),
        "completion_unit_price": str(model.output_price),
        "completion_price_unit": str(model.price_unit),
    }
    return {**no_usage_json(), **units, **prices, "currency": model.currency, "latency": seconds}

"""Runs and their nodes as Dify's JSON: what a collector has to make sense of.

What comes in are rows; what goes out are dictionaries as the console API of 1.11.1 gives them, usage repeated in every
place where Dify repeats it. The same node, told by the stream, is made from the same parts in `streams`.
"""

from __future__ import annotations

from itertools import pairwise

from collector.demo.plan import CONTAINERS
from collector.demo.rows import Account, App, EndUser, Json, Node, Run, Stage, Usage, epoch

UNKNOWN_RUN: Json = {
    "id": None,
    "version": None,
    "graph": None,
    "inputs": None,
    "status": None,
    "outputs": None,
    "error": None,
    "elapsed_time": None,
    "total_tokens": None,
    "total_steps": None,
    "created_by_role": None,
    "created_by_account": None,
    "created_by_end_user": None,
    "created_at": None,
    "finished_at": None,
    "exceptions_count": None,
}
"""What Dify says of a run it does not know: 200 and nothing."""


def usage_json(usage: Usage) -> Json:
    """A usage, with prices as the decimal strings Dify writes."""
    model = usage.model
    return {
        "prompt_tokens": usage.prompt_tokens,
        "prompt_unit_price": str(model.input_price),
        "prompt_price_unit": str(model.price_unit),
        "prompt_price": str(usage.prompt_price),
        "completion_tokens": usage.completion_tokens,
        "completion_unit_price": str(model.output_price),
        "completion_price_unit": str(model.price_unit),
        "completion_price": str(usage.completion_price),
        "total_tokens": usage.total_tokens,
        "total_price": str(usage.total_price),
        "currency": usage.currency,
        "latency": round(usage.latency, 3),
        "time_to_first_token": usage.time_to_first_token,
        "time_to_generate": usage.time_to_generate,
    }


def no_usage_json(first: float | None = None, generate: float | None = None) -> Json:
    """The usage of something that used nothing."""
    return {
        "prompt_tokens": 0,
        "prompt_unit_price": "0.0",
        "prompt_price_unit": "0.0",
        "prompt_price": "0.0",
        "completion_tokens": 0,
        "completion_unit_price": "0.0",
        "completion_price_unit": "0.0",
        "completion_price": "0.0",
        "total_tokens": 0,
        "total_price": "0.0",
        "currency": "USD",
        "latency": 0.0,
        "time_to_first_token": first,
        "time_to_generate": generate,
    }


def account_json(account: Account) -> Json:
    """An account, in short."""
    return {"id": account.id, "name": account.name, "email": account.email}


def end_user_json(user: EndUser) -> Json:
    """An end user, in short."""
    return {"id": user.id, "type": user.type, "is_anonymous": False, "session_id": user.session_id}


def creator_json(by: EndUser | Account) -> Json:
    """Who made a row, in the three fields Dify has for it."""
    return {
        "created_by_role": "account" if isinstance(by, Account) else "end_user",
        "created_by_account": account_json(by) if isinstance(by, Account) else None,
        "created_by_end_user": end_user_json(by) if isinstance(by, EndUser) else None,
    }


def run_inputs(run: Run) -> Json:
    """What a run was given, with Dify's own variables."""
    by = run.created_by
    return {
        **run.inputs,
        "sys.files": [],
        "sys.user_id": by.session_id if isinstance(by, EndUser) else by.id,
        "sys.app_id": run.app_id,
        "sys.workflow_id": run.workflow_id,
        "sys.workflow_run_id": run.id,
        "sys.timestamp": epoch(run.created_at),
    }


def run_item(run: Run) -> Json:
    """One item of the run list."""
    return {
        "id": run.id,
        "version": run.version,
        "status": run.status,
        "elapsed_time": run.elapsed_time,
        "total_tokens": run.total_tokens,
        "total_steps": run.total_steps,
        "created_by_account": account_json(run.created_by) if isinstance(run.created_by, Account) else None,
        "created_at": epoch(run.created_at),
        "finished_at": epoch(run.finished_at),
        "exceptions_count": run.exceptions_count,
        "retry_index": None,
    }


def run_detail(run: Run, app: App) -> Json:
    """One run with its graph."""
    return {
        "id": run.id,
        "version": run.version,
        "graph": graph_json(app),
        "inputs": run_inputs(run),
        "status": run.status,
        "outputs": run.outputs,
        "error": run.error,
        "elapsed_time": run.elapsed_time,
        "total_tokens": run.total_tokens,
        "total_steps": run.total_steps,
        **creator_json(run.created_by),
        "created_at": epoch(run.created_at),
        "finished_at": epoch(run.finished_at),
        "exceptions_count": run.exceptions_count,
    }


def graph_json(app: App) -> Json:
    """The graph of an app's workflow: the only place that names the model of a node that failed."""
    top = [stage for stage in app.stages if not stage.inside]
    return {
        "nodes": [_graph_node(stage) for stage in app.stages],
        "edges": [
            {
                "id": f"{source.id}-source-{target.id}",
                "source": source.id,
                "sourceHandle": "source",
                "target": target.id,
                "targetHandle": "target",
                "type": "custom",
                "data": {"sourceType": "", "targetType": "", "isInIteration": False, "isInLoop": False},
            }
            for source, target in pairwise(top)
        ],
        "viewport": {"x": 0, "y": 0, "zoom": 1},
    }


def node_item(node: Node, run: Run) -> Json:
    """One item of a run's node list."""
    return {
        "id": node.id,
        "index": node.index,
        "predecessor_node_id": None,
        "node_id": node.stage.id,
        "node_type": node.stage.type,
        "title": node.stage.title,
        **node_contents(node, run),
        "status": node.status,
        "error": node.error,
        "elapsed_time": node.elapsed or 0.0,
        "execution_metadata": node_metadata(node),
        "extras": {},
        "created_at": epoch(node.created_at),
        **creator_json(run.created_by),
        "finished_at": epoch(node.finished_at),
        "inputs_truncated": False,
        "outputs_truncated": False,
        "process_data_truncated": False,
    }


def node_contents(node: Node, run: Run) -> Json:
    """What went in, what happened, what came out."""
    if node.elapsed is None:
        return {"inputs": None, "process_data": None, "outputs": None}
    kind = node.stage.type
    if kind == "start":
        inputs = run_inputs(run)
        return {"inputs": inputs, "process_data": {}, "outputs": inputs}
    if kind in ("end", "answer"):
        outputs: Json = {"answer": node.text, "files": []} if kind == "answer" else run.outputs
        return {"inputs": {} if kind == "answer" else outputs, "process_data": {}, "outputs": outputs}
    return {"inputs": {}, "process_data": _process(node, run), "outputs": _outputs(node)}


def node_metadata(node: Node) -> Json:
    """`execution_metadata`: totals of calls, containers and tools, and where a node stood."""
    if node.elapsed is None:
        return {"iteration_id": None, "loop_id": None}
    found: Json = {}
    if node.usage or (node.stage.type in CONTAINERS and node.error is None):
        found["total_tokens"] = node.usage.total_tokens if node.usage else 0
        found["total_price"] = str(node.usage.total_price) if node.usage else "0.0"
        found["currency"] = node.usage.currency if node.usage else "USD"
    elif node.stage.type == "knowledge-retrieval":
        found |= {"total_tokens": 0, "total_price": "0", "currency": "USD"}
    if node.stage.type == "tool":
        found["tool_info"] = {
            "provider_type": "workflow",
            "provider_id": node.stage.id,
            "plugin_unique_identifier": None,
        }
    if node.stage.type == "agent" and node.usage:
        found["agent_log"] = [_agent_round(node, node.usage)]
    if node.status == "exception":
        found["error_strategy"] = node.stage.error_strategy
    if node.stage.inside is not None and node.inside_index is not None:
        found |= inner_place(node)
    return found


def inner_place(node: Node) -> Json:
    """Which round of which container: loops and iterations use names of their own."""
    word = node.stage.inside_type
    return {f"{word}_id": node.stage.inside, f"{word}_index": node.inside_index}


def _process(node: Node, run: Run) -> Json:
    if node.stage.type == "knowledge-retrieval":
        return {"usage": no_usage_json()}
    if node.usage is None or node.stage.model is None or node.stage.type == "agent":
        return {}
    files: list[object] = []
    if node.stage.model.has_vision and "vl" in node.stage.model.name:
        files = [{"type": "image", "transfer_method": "local_file", "url": "https://files.example.com/invoice.png"}]
    return {
        "model_mode": "chat",
        "prompts": [
            {"role": "system", "text": "You are a helpful assistant.", "files": []},
            {"role": "user", "text": next(iter(map(str, run.inputs.values())), "Go on."), "files": files},
        ],
        "usage": usage_json(node.usage),
        "finish_reason": "stop",
        "model_provider": node.stage.model.provider,
        "model_name": node.stage.model.name,
    }


def _outputs(node: Node) -> Json:
    kind = node.stage.type
    if node.status == "exception":
        return {"text": "fallback", "error_message": node.error, "error_type": "InvokeServerUnavailableError"}
    if node.status == "failed":
        return {}
    if kind in CONTAINERS:
        return {"output": [f"item {place}" for place in range(len(node.rounds))]}
    if kind == "knowledge-retrieval":
        return {"result": []}
    if kind == "tool":
        return {"text": node.text, "files": [], "json": [{"result": node.text}]}
    if node.usage is None:
        return {"output": "…"}
    usage = usage_json(node.usage)
    if kind == "question-classifier":
        return {"class_name": "Orders", "class_id": "1", "usage": usage}
    if kind == "parameter-extractor":
        return {"__is_success": 1, "__reason": None, "__usage": usage, "parties": []}
    if kind == "agent":
        return {"text": node.text, "usage": usage, "files": [], "json": []}
    return {"text": node.text, "reasoning_content": "", "usage": usage, "finish_reason": "stop"}


def _agent_round(node: Node, usage: Usage) -> Json:
    return {
        "id": node.id,
        "parent_id": None,
        "label": "ROUND 1",
        "status": "success",
        "error": None,
        "data": {},
        "metadata": {
            "total_tokens": usage.total_tokens,
            "total_price": str(usage.total_price),
            "currency": usage.currency,
        },
        "node_id": node.stage.id,
    }


def _graph_node(stage: Stage) -> Json:
    told: Json = {"type": stage.type, "title": stage.title, "desc": "", "selected": False}
    if stage.model:
        model: Json = {"provider": stage.model.provider, "name": stage.model.name, "mode": "chat"}
        if stage.type == "agent":
            told["agent_parameters"] = {"model": {"type": "constant", "value": model}}
        else:
            told["model"] = {**model, "completion_params": {"temperature": 0.7}}
            told["vision"] = {"enabled": stage.model.has_vision}
    if stage.error_strategy:
        told["error_strategy"] = stage.error_strategy
    if stage.inside:
        told[f"{stage.inside_type}_id"] = stage.inside
    return {"id": stage.id, "type": "custom", "position": {"x": 0, "y": 0}, "data": told}

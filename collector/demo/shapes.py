"""Logs, conversations, messages and ratings as Dify's JSON.

What comes in are rows and the world they stand in; what goes out are dictionaries as the API of 1.11.1 gives them.
Nothing here filters, pages or changes anything.
"""

from __future__ import annotations

from collector.demo.app_shapes import AGENT_MODE, input_form, model_json
from collector.demo.nodes import account_json, creator_json, usage_json
from collector.demo.rows import (
    Account,
    App,
    AppLog,
    Conversation,
    Feedback,
    Json,
    Message,
    Thought,
    epoch,
)
from collector.demo.world import World


def log_item(log: AppLog, *, with_detail: bool) -> Json:
    """One item of a workflow app's log."""
    run = log.run
    return {
        "id": log.id,
        "workflow_run": {
            "id": run.id,
            "version": run.version,
            "status": run.status,
            "triggered_from": run.triggered_from,
            "error": run.error,
            "elapsed_time": run.elapsed_time,
            "total_tokens": run.total_tokens,
            "total_steps": run.total_steps,
            "created_at": epoch(run.created_at),
            "finished_at": epoch(run.finished_at),
            "exceptions_count": run.exceptions_count,
        },
        "details": {"trigger_metadata": {}} if with_detail else None,
        "created_from": log.created_from,
        **creator_json(run.created_by),
        "created_at": epoch(log.created_at),
    }


def conversation_item(world: World, conversation: Conversation) -> Json:
    """One item of a chat app's conversation list."""
    app, messages = world.apps[conversation.app_id], world.messages_in[conversation.id]
    return {
        **_conversation_head(conversation),
        "name": conversation.name,
        "summary": conversation.name,
        **_conversation_times(conversation),
        "annotated": False,
        "model_config": {"model": None, "pre_prompt": None if app.has_workflow else "You are a bot."},
        "message_count": len(messages),
        **feedback_counts(world, messages),
        "status_count": status_count(world, app, messages),
    }


def completion_item(world: World, conversation: Conversation) -> Json:
    """One item of a completion app's conversation list: its message stands inside, without tokens or id."""
    messages = world.messages_in[conversation.id]
    return {
        **_conversation_head(conversation),
        **_conversation_times(conversation),
        "annotation": None,
        "model_config": {"model": None, "pre_prompt": "Translate {{q}}"},
        **feedback_counts(world, messages),
        "message": {
            "inputs": messages[0].inputs,
            "query": messages[0].query,
            "message": "Translate …\n",
            "answer": messages[0].answer,
        }
        if messages
        else None,
    }


def conversation_detail(world: World, conversation: Conversation) -> Json:
    """One conversation."""
    app, messages = world.apps[conversation.app_id], world.messages_in[conversation.id]
    head: Json = {
        "id": conversation.id,
        "status": "normal",
        "from_source": source_of(conversation.account),
        "from_end_user_id": conversation.end_user.id if conversation.end_user else None,
        "from_account_id": conversation.account.id if conversation.account else None,
        "created_at": epoch(conversation.created_at),
    }
    config: Json = {
        "opening_statement": None if app.mode == "completion" else "",
        "suggested_questions": [],
        "model": model_json(app.model) if app.model else None,
        "user_input_form": input_form(app) if app.model else None,
        "pre_prompt": "You are a bot." if app.model else None,
        "agent_mode": AGENT_MODE if app.model else None,
    }
    if app.mode == "completion":
        return {**head, "model_config": config, "message": message_item(world, messages[0]) if messages else None}
    return {
        **head,
        "updated_at": epoch(conversation.updated_at),
        "annotated": False,
        "introduction": "",
        "model_config": config,
        "message_count": len(messages),
        **feedback_counts(world, messages),
    }


def message_item(world: World, message: Message) -> Json:
    """One message as the console shows it: no price, no model, no invoke_from."""
    is_flow = message.workflow_run_id is not None
    metadata: Json = {"annotation_reply": None, "retriever_resources": []}
    metadata["usage"] = usage_json(message.usage) if message.usage else None
    return {
        "id": message.id,
        "conversation_id": message.conversation_id,
        "inputs": message.inputs,
        "query": message.query,
        "message": "" if is_flow else [{"role": "user", "text": message.query, "files": []}],
        "message_tokens": message.message_tokens,
        "answer": message.answer,
        "answer_tokens": message.answer_tokens,
        "provider_response_latency": message.provider_response_latency,
        "from_source": source_of(message.from_account_id),
        "from_end_user_id": message.from_end_user_id,
        "from_account_id": message.from_account_id,
        "feedbacks": [_rating(row) for row in world.feedback_on(message.id)],
        "workflow_run_id": message.workflow_run_id,
        "annotation": None,
        "annotation_hit_history": None,
        "created_at": epoch(message.created_at),
        "agent_thoughts": [thought_json(message, thought) for thought in message.thoughts],
        "message_files": [],
        "metadata": metadata if message.is_filled else {},
        "status": message.status,
        "error": message.error,
        "parent_message_id": message.parent_message_id,
    }


def thought_json(message: Message, thought: Thought) -> Json:
    """One round of an agent."""
    return {
        "id": thought.id,
        "chain_id": None,
        "message_id": message.id,
        "position": thought.position,
        "thought": thought.thought,
        "tool": thought.tool,
        "tool_labels": tool_labels(thought),
        "tool_input": thought.tool_input,
        "created_at": epoch(message.created_at),
        "observation": thought.observation,
        "files": [],
    }


def tool_labels(thought: Thought) -> Json:
    """The names of the tool a round called, by language."""
    if not thought.tool:
        return {}
    english = "Current Time"
    return {thought.tool: {"zh_Hans": "获取当前时间", "en_US": english, "pt_BR": english, "ja_JP": english}}


def feedback_counts(world: World, messages: list[Message]) -> Json:
    """Likes and dislikes, by side."""
    counts = {(source, rating): 0 for source in ("user", "admin") for rating in ("like", "dislike")}
    for message in messages:
        for row in world.feedback_on(message.id):
            counts[row.from_source, row.rating] += 1
    return {
        f"{source}_feedback_stats": {rating: counts[source, rating] for rating in ("like", "dislike")}
        for source in ("user", "admin")
    }


def status_count(world: World, app: App, messages: list[Message]) -> Json:
    """How the runs of a conversation ended; nulls for apps without runs."""
    names = {"success": "succeeded", "failed": "failed", "partial_success": "partial-succeeded"}
    if not app.has_workflow:
        return dict.fromkeys(names)
    runs = [run for m in messages if m.workflow_run_id and (run := world.runs.get(m.workflow_run_id))]
    return {name: sum(run.status == status for run in runs) for name, status in names.items()}


def feedback_row(row: Feedback) -> Json:
    """One rating as the service API gives it: times without a zone, in UTC."""
    return {
        "id": row.id,
        "app_id": row.app_id,
        "conversation_id": row.conversation_id,
        "message_id": row.message_id,
        "rating": row.rating,
        "content": row.content,
        "from_source": row.from_source,
        "from_end_user_id": row.from_end_user_id,
        "from_account_id": row.from_account.id if row.from_account else None,
        "created_at": row.created_at.replace(microsecond=0, tzinfo=None).isoformat(),
        "updated_at": row.updated_at.replace(microsecond=0, tzinfo=None).isoformat(),
    }


def feedback_export(world: World, row: Feedback) -> Json:
    """One rating as the console's export gives it."""
    app, message = world.apps[row.app_id], world.messages[row.message_id]
    return {
        "feedback_id": row.id,
        "app_name": app.name,
        "app_id": app.id,
        "conversation_id": row.conversation_id,
        "conversation_name": world.conversations[row.conversation_id].name,
        "message_id": row.message_id,
        "user_query": message.query,
        "ai_response": message.answer,
        "feedback_rating": "👍" if row.rating == "like" else "👎",
        "feedback_rating_raw": row.rating,
        "feedback_comment": row.content or "",
        "feedback_source": row.from_source,
        "feedback_date": f"{row.created_at:%Y-%m-%d %H:%M:%S}",
        "message_date": f"{message.created_at:%Y-%m-%d %H:%M:%S}",
        "from_account_name": row.from_account.name if row.from_account else "",
        "from_end_user_id": row.from_end_user_id or "",
        "has_comment": "Yes" if row.content else "No",
    }


def source_of(account: object) -> str:
    """`from_source`: console for accounts, api for everybody else."""
    return "console" if account else "api"


def _rating(row: Feedback) -> Json:
    return {
        "rating": row.rating,
        "content": row.content,
        "from_source": row.from_source,
        "from_end_user_id": row.from_end_user_id,
        "from_account": account_json(row.from_account) if row.from_account else None,
    }


def _conversation_head(conversation: Conversation) -> Json:
    user, account = conversation.end_user, conversation.account
    return {
        "id": conversation.id,
        "status": "normal",
        "from_source": source_of(account),
        "from_end_user_id": user.id if user else None,
        "from_end_user_session_id": user.session_id if user else None,
        "from_account_id": account.id if account else None,
        "from_account_name": account.name if isinstance(account, Account) else None,
    }


def _conversation_times(conversation: Conversation) -> Json:
    return {
        "read_at": epoch(conversation.read_at),
        "created_at": epoch(conversation.created_at),
        "updated_at": epoch(conversation.updated_at),
    }

"""The console API of the simulated Dify: conversations, messages and feedback.

What comes in is an `Ask`; what goes out becomes JSON. Reading a conversation moves it, pages of messages lose ties,
feedback goes without a trace: the traps are Dify's. ROUTES is the table.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

from collector.demo import shapes
from collector.demo.asking import Ask, Endpoint, Refusal, page_of, window_of
from collector.demo.rows import App, Conversation, Json, Message
from collector.demo.world import by_creation

TALKING = ("chat", "agent-chat", "advanced-chat")


def chat_conversations(ask: Ask) -> object:
    """GET /apps/{id}/chat-conversations: sorted and filtered by the same column."""
    app = _readable(ask, *TALKING)
    sort = ask.choice(
        "sort_by",
        query="ChatConversationQuery",
        among=("created_at", "-created_at", "updated_at", "-updated_at"),
    )
    sort = sort or "-updated_at"
    world, column = ask.world, sort.lstrip("-")
    rows = world.touched_of[app.id].values() if column == "updated_at" else world.conversations_of[app.id]
    window = window_of(ask)
    found = [
        row
        for row in rows
        if _is_listed(row, app)
        and (window.start is None or getattr(row, column) >= window.start)
        and (window.end is None or getattr(row, column) <= window.end + timedelta(seconds=59))
    ]
    if sort.startswith("-"):
        found.reverse()
    return _conversation_page(ask, found, lambda row: shapes.conversation_item(world, row))


def completion_conversations(ask: Ask) -> object:
    """GET /apps/{id}/completion-conversations."""
    app = _readable(ask, "completion")
    window = window_of(ask)
    end = window.end + timedelta(seconds=59) if window.end else None
    found = [
        row
        for row in reversed(ask.world.conversations_of[app.id])
        if not row.is_deleted
        and (window.start is None or row.created_at >= window.start)
        and (end is None or row.created_at < end)
    ]
    return _conversation_page(ask, found, lambda row: shapes.completion_item(ask.world, row))


def conversation(ask: Ask) -> object:
    """GET …/chat-conversations/{id} and …/completion-conversations/{id}: reading it moves it to the top."""
    _readable(ask, "completion", *TALKING)
    found = _conversation_of(ask, ask.path_values["conversation_id"])
    ask.world.read(found, ask.now)
    return shapes.conversation_detail(ask.world, found)


def chat_messages(ask: Ask) -> object:
    """GET /apps/{id}/chat-messages: pages go back in time, each oldest first; ties with the cursor are lost."""
    _readable(ask, *TALKING)
    limit = ask.whole("limit", query="ChatMessagesQuery", default=20, most=100)
    rows = ask.world.messages_in[_conversation_of(ask, ask.required("conversation_id", query="ChatMessagesQuery")).id]
    shown, has_more = older_messages(ask, rows, limit)
    return {
        "limit": limit,
        "has_more": has_more,
        "data": [shapes.message_item(ask.world, message) for message in shown],
    }


def older_messages(ask: Ask, rows: list[Message], limit: int) -> tuple[list[Message], bool]:
    """The page before `first_id`, oldest first, and whether there is more before it."""
    high, first_id = len(rows), ask.query.get("first_id")
    if first_id:
        first = next((row for row in rows if row.id == first_id), None)
        if first is None:
            raise ask.gone("First message not found")
        high = bisect_left(rows, first.created_at, key=by_creation)
    low = max(0, high - limit)
    return rows[low:high], low > 0


def message(ask: Ask) -> object:
    """GET /apps/{id}/messages/{id}."""
    found = ask.world.messages.get(ask.path_values["message_id"])
    if found is None or found.app_id != ask.app.id:
        raise ask.gone("Message Not Exists.")
    return shapes.message_item(ask.world, found)


def rate(ask: Ask) -> object:
    """POST /apps/{id}/feedbacks: the console's own rating."""
    found = ask.world.messages.get(str(ask.body.get("message_id")))
    if found is None or found.app_id != ask.app.id or ask.account is None:
        raise ask.gone("Message Not Exists.")
    rating = ask.body.get("rating")
    ask.world.rate(found, ask.account, str(rating) if rating else None, ask.now, None)
    return {"result": "success"}


def export_feedback(ask: Ask) -> object:
    """GET /apps/{id}/feedbacks/export: all of an app's, newest first."""
    app, query = ask.app, ask.query
    start, end = _day(query.get("start_date")), _day(query.get("end_date"))
    rows = sorted(ask.world.feedback_of[app.id].values(), key=by_creation, reverse=True)
    found = [
        shapes.feedback_export(ask.world, row)
        for row in rows
        if query.get("from_source") in (None, row.from_source)
        and query.get("rating") in (None, row.rating)
        and (start is None or row.created_at >= start)
        and (end is None or row.created_at <= end)
    ]
    return {
        "export_info": {
            "app_id": app.id,
            "export_date": ask.now.replace(tzinfo=None).isoformat(),
            "total_records": len(found),
            "data_source": "dify_feedback_export",
        },
        "feedback_data": found,
    }


_APP = "/apps/{app_id:uuid}"

ROUTES: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", _APP + "/chat-conversations", chat_conversations),
    ("GET", _APP + "/chat-conversations/{conversation_id:uuid}", conversation),
    ("GET", _APP + "/completion-conversations", completion_conversations),
    ("GET", _APP + "/completion-conversations/{conversation_id:uuid}", conversation),
    ("GET", _APP + "/chat-messages", chat_messages),
    ("GET", _APP + "/messages/{message_id:uuid}", message),
    ("POST", _APP + "/feedbacks", rate),
    ("GET", _APP + "/feedbacks/export", export_feedback),
)


def _conversation_of(ask: Ask, conversation_id: str) -> Conversation:
    found = ask.world.conversations.get(conversation_id)
    if found is None or found.app_id != ask.app.id or found.is_deleted:
        raise ask.gone("Conversation Not Exists.")
    return found


def _readable(ask: Ask, *modes: str) -> App:
    """The app, for those who may read what people wrote."""
    if ask.account and ask.account.role == "normal":
        said = "You don't have the permission to access the requested resource."
        raise Refusal(403, "forbidden", f"{said} It is either read-protected or not readable by the server.")
    return ask.app_in(*modes)


def _is_listed(row: Conversation, app: App) -> bool:
    return not row.is_deleted and not (app.mode == "advanced-chat" and row.invoke_from == "debugger")


def _conversation_page(ask: Ask, found: list[Conversation], item: Callable[[Conversation], Json]) -> Json:
    page = ask.whole("page", query="ConversationQuery", default=1, most=99999)
    limit = ask.whole("limit", query="ConversationQuery", default=20, most=100)
    shown = found[(page - 1) * limit : page * limit]
    return page_of([item(row) for row in shown], page=page, limit=limit, total=len(found))


def _day(written: str | None) -> datetime | None:
    if not written:
        return None
    try:
        return datetime.combine(date.fromisoformat(written), time(), UTC)
    except ValueError:
        raise Refusal(400, "invalid_param", f"Invalid date: {written!r}; wanted YYYY-MM-DD") from None

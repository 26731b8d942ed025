"""Dify's own statistics, digit for digit: what its console shows, so that anybody can check us against it.

They repeat Dify's definitions with all their oddities (per mille, rounding, USD whatever the currency, the tokens it
reports rather than those of the calls): for reporting and billing there are the measures of the other subjects.
Ask them by app, with grain=day and the time zone of the Dify account. A day without rows is absent, as in Dify.

What a source does not tell: rows whose `invoke_from` Dify's database holds as NULL do not count, as in Dify; where the
source cannot know it (the console API), a message counts unless it is known to be a test.

Source: api/controllers/console/app/statistic.py, workflow_statistic.py
"""

from __future__ import annotations

from collector.measures.doubts import doubts
from collector.measures.flags import DEBUG_UNKNOWN_MESSAGES
from collector.measures.joins import MESSAGE_APP, MESSAGE_CONVERSATION, MESSAGE_LIKES, RUN_APP, RUN_MESSAGE
from collector.measures.measure import DIFY_USD, Kind, Measure, Rounding, count, distinct, ratio, total, union
from collector.quirks import Total
from collector.records import Message, Run

COUNTED_MESSAGE = (
    "CASE WHEN invoke_from IS NOT NULL THEN invoke_from <> 'debugger' "
    "WHEN source = 'database' THEN FALSE ELSE is_debug IS NOT TRUE END"
)
"""Which messages Dify's statistics count: SQL's `invoke_from != 'debugger'` is not true of NULL."""

COUNTED_RUN = "coalesce(triggered_from, CASE WHEN is_debug IS NOT TRUE THEN 'app-run' END) = 'app-run'"
"""Which runs they count: not those of webhooks, schedules and plugins. Versions that tell no trigger have none."""

_TOKENS = "coalesce(reported_input_tokens, 0) + coalesce(reported_output_tokens, 0)"
_COST = f"coalesce(reported_cost, CASE WHEN source <> 'database' AND {_TOKENS} = 0 THEN 0 END)"
"""Where nothing was spent Dify wrote a price of zero, which the console does not tell."""
_LATENCY = "coalesce(latency_seconds, 0)"
_TALKING = f"{COUNTED_MESSAGE} AND app.mode IN ('chat', 'agent-chat', 'advanced-chat')"
_SESSION = (
    f"CASE WHEN conversation.id IS NOT NULL THEN {_TALKING} END "
    "AND (created_at IS NULL OR created_at >= $since - INTERVAL 1 DAY)"
)
"""No message is older than its conversation; saying so keeps the question from reading those of all history. What else
is asked of messages is asked when they have met their conversations: asked before, it misleads the engine about which
of the two are fewer.
"""
_COMPLETION = f"{COUNTED_MESSAGE} AND app.mode = 'completion'"
_WORKFLOW = f"{COUNTED_RUN} AND app.mode = 'workflow'"

_MESSAGE_DOUBTS = (*doubts(Total.MESSAGE, Message), DEBUG_UNKNOWN_MESSAGES)
_RUN_DOUBTS = doubts(Total.RUN, Run)

HUNDREDTHS = Rounding(2, is_decimal=True)

DIFY_MESSAGES = count(
    "dify_messages",
    Message,
    where=COUNTED_MESSAGE,
    unit="messages",
    title="Messages (Dify)",
    title_zh="消息数（Dify 口径）",
    help="Dify's daily-messages: every message that is no test, failed and empty ones included.",
    flags=(DEBUG_UNKNOWN_MESSAGES,),
)
DIFY_CONVERSATIONS = distinct(
    "dify_conversations",
    Message,
    "conversation_id",
    where=COUNTED_MESSAGE,
    unit="conversations",
    title="Conversations (Dify)",
    title_zh="会话数（Dify 口径）",
    help="Dify's daily-conversations: a conversation counts on each day on which it has a message.",
    flags=(DEBUG_UNKNOWN_MESSAGES,),
)
DIFY_END_USERS = distinct(
    "dify_end_users",
    Message,
    "CASE WHEN user_kind = 'end_user' THEN user_id END",
    where=COUNTED_MESSAGE,
    unit="users",
    title="End users (Dify)",
    title_zh="活跃用户数（Dify 口径）",
    help="Dify's daily-end-users: end users with a message; accounts of the console do not count.",
)
DIFY_TOKENS = total(
    "dify_tokens",
    Message,
    _TOKENS,
    where=COUNTED_MESSAGE,
    unit="tokens",
    title="Tokens of messages (Dify)",
    title_zh="消息 Token（Dify 口径）",
    help="Dify's token-costs: the tokens it wrote into messages. Those of a chatflow repeat its run.",
    flags=_MESSAGE_DOUBTS,
)
DIFY_COST = total(
    "dify_cost",
    Message,
    f"CAST({_COST} AS DECIMAL(18, 7))",
    where=COUNTED_MESSAGE,
    unit=DIFY_USD,
    title="Cost of messages (Dify)",
    title_zh="消息费用（Dify 口径）",
    help="Dify's token-costs: prices of all currencies added and called USD. The console API tells prices of chatflow "
    "messages only.",
    flags=_MESSAGE_DOUBTS,
)
DIFY_SESSION_INTERACTIONS = ratio(
    "dify_session_interactions",
    count(
        "dify_session_messages",
        Message,
        where=_SESSION,
        at="conversation.created_at",
        joins=(MESSAGE_CONVERSATION, MESSAGE_APP),
        unit="messages",
        title="Messages of sessions (Dify)",
        title_zh="会话消息数（Dify 口径）",
        help="Messages of all time, by the day on which their conversation began.",
    ),
    distinct(
        "dify_sessions",
        Message,
        "conversation_id",
        where=_SESSION,
        at="conversation.created_at",
        joins=(MESSAGE_CONVERSATION, MESSAGE_APP),
        unit="conversations",
        title="Sessions (Dify)",
        title_zh="会话（Dify 口径）",
        help="Conversations with a message, by the day on which they began.",
    ),
    unit="messages/conversation",
    rounding=HUNDREDTHS,
    title="Messages per session (Dify)",
    title_zh="平均会话互动数（Dify 口径）",
    help="Dify's average-session-interactions, of chat, agent and chatflow apps: messages of all time per "
    "conversation, by the day on which the conversation began.",
)
DIFY_SATISFACTION = ratio(
    "dify_satisfaction",
    total(
        "dify_likes",
        Message,
        "liked.likes",
        where=f"{COUNTED_MESSAGE} AND liked.likes IS NOT NULL",
        joins=(MESSAGE_LIKES,),
        unit="ratings",
        title="Likes (Dify)",
        title_zh="点赞数（Dify 口径）",
        help="Likes of users and admins, by the day of the message.",
    ),
    union(
        "dify_rated_rows",
        count(
            "dify_rated_messages",
            Message,
            where=COUNTED_MESSAGE,
            unit="messages",
            title="Messages that could be liked (Dify)",
            title_zh="可评价消息数（Dify 口径）",
            help="Messages, liked or not.",
        ),
        count(
            "dify_messages_liked_twice",
            Message,
            where=f"{COUNTED_MESSAGE} AND liked.likes > 1",
            joins=(MESSAGE_LIKES,),
            unit="messages",
            title="Messages liked by both sides (Dify)",
            title_zh="双方均点赞的消息数（Dify 口径）",
            help="Messages that a user and an admin liked.",
        ),
        title="Messages, one for each like (Dify)",
        title_zh="消息行数（Dify 口径）",
        help="Messages; one that was liked by both sides counts twice.",
    ),
    unit="per mille",
    scale=1000,
    rounding=Rounding(2),
    title="Satisfaction, per mille (Dify)",
    title_zh="用户满意度（Dify 口径，千分比）",
    help="Dify's user-satisfaction-rate: likes per thousand messages; a message liked by both sides counts twice.",
)
DIFY_RESPONSE_TIME = Measure(
    name="dify_response_time_ms",
    kind=Kind.MEAN,
    record=Message,
    column=_LATENCY,
    where=_COMPLETION,
    joins=(MESSAGE_APP,),
    unit="milliseconds",
    scale=1000,
    rounding=Rounding(4),
    title="Response time (Dify)",
    title_zh="平均响应时间（Dify 口径，毫秒）",
    help="Dify's average-response-time, of completion apps: failed messages count with 0 milliseconds.",
)
DIFY_TOKENS_PER_SECOND = ratio(
    "dify_tokens_per_second",
    total(
        "dify_answer_tokens",
        Message,
        "coalesce(reported_output_tokens, 0)",
        where=COUNTED_MESSAGE,
        unit="tokens",
        title="Answer tokens (Dify)",
        title_zh="回答 Token（Dify 口径）",
        help="Tokens that Dify wrote into messages as those of the answer.",
        flags=_MESSAGE_DOUBTS,
    ),
    total(
        "dify_answer_seconds",
        Message,
        _LATENCY,
        where=COUNTED_MESSAGE,
        unit="seconds",
        title="Answer seconds (Dify)",
        title_zh="回答耗时（Dify 口径）",
        help="Whole time of the answers.",
    ),
    unit="tokens/second",
    rounding=Rounding(4),
    of_zero=0.0,
    title="Output speed (Dify)",
    title_zh="Token 输出速度（Dify 口径）",
    help="Dify's tokens-per-second: answer tokens by the whole time of the answer, thinking and waiting included.",
)
DIFY_RUNS = count(
    "dify_runs",
    Run,
    where=COUNTED_RUN,
    unit="runs",
    title="Runs (Dify)",
    title_zh="运行次数（Dify 口径）",
    help="Dify's workflow daily-conversations: runs of every status, those of triggers left out.",
)
DIFY_RUN_USERS = union(
    "dify_run_users",
    distinct(
        "dify_named_run_users",
        Run,
        "user_id",
        where=COUNTED_RUN,
        unit="users",
        title="Users that runs name (Dify)",
        title_zh="运行记录中的用户数（Dify 口径）",
        help="End users and accounts that stand at a run.",
    ),
    distinct(
        "dify_message_run_users",
        Run,
        "message.user_id",
        where=f"{COUNTED_RUN} AND user_id IS NULL",
        joins=(RUN_MESSAGE,),
        unit="users",
        title="Users that only messages name (Dify)",
        title_zh="仅消息记录中的运行用户数（Dify 口径）",
        help="End users and accounts of runs of which the list of runs does not tell them, as their messages do.",
    ),
    title="Users of runs (Dify)",
    title_zh="运行用户数（Dify 口径）",
    help="Dify's workflow daily-terminals: end users and accounts that started a run.",
)
DIFY_RUN_TOKENS = total(
    "dify_run_tokens",
    Run,
    "coalesce(reported_tokens, 0)",
    where=COUNTED_RUN,
    unit="tokens",
    title="Tokens of runs (Dify)",
    title_zh="运行 Token（Dify 口径）",
    help="Dify's workflow token-costs: the totals it wrote into runs; a run that was called as a tool counts again in "
    "its caller. Dify answers the number as text.",
    flags=_RUN_DOUBTS,
)
DIFY_APP_INTERACTIONS = ratio(
    "dify_app_interactions",
    count(
        "dify_app_runs",
        Run,
        where=_WORKFLOW,
        joins=(RUN_APP,),
        unit="runs",
        title="Runs of workflow apps (Dify)",
        title_zh="工作流运行次数（Dify 口径）",
        help="Runs of workflow apps, those of triggers left out.",
    ),
    distinct(
        "dify_app_users",
        Run,
        "user_id",
        where=_WORKFLOW,
        joins=(RUN_APP,),
        unit="users",
        title="Users of workflow apps (Dify)",
        title_zh="工作流用户数（Dify 口径）",
        help="Users with a run of a workflow app.",
    ),
    unit="runs/user",
    rounding=HUNDREDTHS,
    title="Runs per user (Dify)",
    title_zh="平均用户调用次数（Dify 口径）",
    help="Dify's average-app-interactions, of workflow apps: runs per user of a day.",
)

MEASURES = (
    DIFY_MESSAGES,
    DIFY_CONVERSATIONS,
    DIFY_END_USERS,
    DIFY_TOKENS,
    DIFY_COST,
    DIFY_SESSION_INTERACTIONS,
    DIFY_SATISFACTION,
    DIFY_RESPONSE_TIME,
    DIFY_TOKENS_PER_SECOND,
    DIFY_RUNS,
    DIFY_RUN_USERS,
    DIFY_RUN_TOKENS,
    DIFY_APP_INTERACTIONS,
)

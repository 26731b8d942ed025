"""Measures of messages, conversations and ratings.

Messages count in the period in which they were asked; a conversation is active in every period it has a message in.
"""

from __future__ import annotations

from collector.measures.flags import DEBUG_UNKNOWN_MESSAGES, STALE_MESSAGES
from collector.measures.joins import FEEDBACK_MESSAGE
from collector.measures.measure import count, distinct, ratio, spread
from collector.records import Conversation, Feedback, Message

_RATED_AT = "coalesce(created_at, message.created_at)"
_ANSWERED = "status = 'succeeded'"

MESSAGES = count(
    "messages",
    Message,
    unit="messages",
    title="Messages",
    title_zh="消息数",
    help="Questions asked, failed ones included, as Dify counts them.",
    flags=(STALE_MESSAGES, DEBUG_UNKNOWN_MESSAGES),
)
FAILED_MESSAGES = count(
    "failed_messages",
    Message,
    where="is_final AND status = 'failed'",
    unit="messages",
    title="Failed messages",
    title_zh="失败消息数",
    help="Questions that ended in an error.",
)
CONVERSATIONS = distinct(
    "conversations",
    Message,
    "conversation_id",
    unit="conversations",
    title="Conversations",
    title_zh="会话数",
    help="Conversations with at least one message. One that goes on for two days counts on both, and once in all.",
    flags=(DEBUG_UNKNOWN_MESSAGES,),
)
CONVERSATIONS_STARTED = count(
    "conversations_started",
    Conversation,
    unit="conversations",
    title="Conversations started",
    title_zh="新增会话数",
    help="Conversations by the time they began.",
)
MESSAGES_PER_CONVERSATION = ratio(
    "messages_per_conversation",
    MESSAGES,
    CONVERSATIONS,
    unit="messages/conversation",
    title="Messages per conversation",
    title_zh="平均会话互动数",
    help="Messages ÷ conversations with a message.",
)

RESPONSE_TIME = spread(
    "response_time",
    Message,
    "latency_seconds",
    where=_ANSWERED,
    title="Response time",
    title_zh="响应时间（RT）",
    help="Whole answer as the user waits for it, of messages that were answered. Workflow apps: see run_elapsed.",
)
MESSAGE_TIME_TO_FIRST_TOKEN = spread(
    "message_time_to_first_token",
    Message,
    "time_to_first_token_seconds",
    where=_ANSWERED,
    title="Time to first token of a message",
    title_zh="消息首 Token 耗时",
    help="From asking to the first piece of the answer; of streamed messages only.",
)
LIKES = count(
    "likes",
    Feedback,
    where="rating = 'like'",
    at=_RATED_AT,
    joins=(FEEDBACK_MESSAGE,),
    unit="ratings",
    title="Likes",
    title_zh="点赞数",
    help="Ratings that say like, by the time they were given.",
)
DISLIKES = count(
    "dislikes",
    Feedback,
    where="rating = 'dislike'",
    at=_RATED_AT,
    joins=(FEEDBACK_MESSAGE,),
    unit="ratings",
    title="Dislikes",
    title_zh="点踩数",
    help="Ratings that say dislike, by the time they were given.",
)
RATINGS = count(
    "ratings",
    Feedback,
    where="rating IN ('like', 'dislike')",
    at=_RATED_AT,
    joins=(FEEDBACK_MESSAGE,),
    unit="ratings",
    title="Ratings",
    title_zh="评价数",
    help="Likes and dislikes, of users and admins. A rating that was withdrawn does not count.",
)
SATISFACTION = ratio(
    "satisfaction",
    LIKES,
    RATINGS,
    title="Satisfaction",
    title_zh="用户满意度",
    help="Likes ÷ ratings, 0 to 1. (Dify's own statistic is likes per thousand messages.)",
)

MEASURES = (
    MESSAGES,
    FAILED_MESSAGES,
    CONVERSATIONS,
    CONVERSATIONS_STARTED,
    MESSAGES_PER_CONVERSATION,
    *RESPONSE_TIME,
    *MESSAGE_TIME_TO_FIRST_TOKEN,
    LIKES,
    DISLIKES,
    RATINGS,
    SATISFACTION,
)

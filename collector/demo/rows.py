"""The rows of the simulated Dify, shaped like Dify's own tables.

What comes in is what `plan` draws; what goes out is read by the JSON shapes, the statistics and the truth. Instants are
aware and in UTC; money is Decimal beside its currency. Rows never know how they are asked for.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from random import Random
from typing import TypeAlias

import msgspec

Json: TypeAlias = dict[str, object]

NO_ID = "00000000-0000-0000-0000-000000000000"
"""What Dify writes where an id is missing: the parent of a conversation's first message."""

_PRICE_STEP = Decimal("0.0000001")


def new_id(rng: Random) -> str:
    """A version 4 UUID of this source of chance."""
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def epoch(at: datetime | None) -> int | None:
    """Whole seconds since 1970, cut off as Dify's JSON does."""
    return int(at.timestamp()) if at else None


def rounded(at: datetime) -> datetime:
    """The instant in whole seconds, rounded as PostgreSQL's CURRENT_TIMESTAMP(0) does."""
    return (at + timedelta(microseconds=500_000)).replace(microsecond=0)


class Model(msgspec.Struct, frozen=True):
    """One model, with its list price per `price_unit` tokens."""

    provider: str
    name: str
    input_price: Decimal
    output_price: Decimal
    price_unit: Decimal
    currency: str
    tokens_per_second: float = 60.0
    has_vision: bool = False


class Usage(msgspec.Struct, frozen=True):
    """What one model call used, or the sum of several; prices in the model's currency, seven decimals."""

    model: Model
    prompt_tokens: int
    completion_tokens: int
    prompt_price: Decimal
    completion_price: Decimal
    currency: str
    latency: float  # seconds
    time_to_first_token: float | None
    time_to_generate: float | None

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def total_price(self) -> Decimal:
        """Prompt and completion together."""
        return self.prompt_price + self.completion_price

    def plus(self, later: Usage) -> Usage:
        """The sum as Dify makes it: currencies are added all the same and the later one's name stays."""
        return Usage(
            later.model,
            self.prompt_tokens + later.prompt_tokens,
            self.completion_tokens + later.completion_tokens,
            self.prompt_price + later.prompt_price,
            self.completion_price + later.completion_price,
            later.currency,
            self.latency + later.latency,
            later.time_to_first_token,
            later.time_to_generate,
        )


def priced(model: Model, prompt_tokens: int, completion_tokens: int, latency: float, first: float | None) -> Usage:
    """The usage of one call at the model's list price."""
    return Usage(
        model,
        prompt_tokens,
        completion_tokens,
        (prompt_tokens * model.input_price * model.price_unit).quantize(_PRICE_STEP, ROUND_HALF_EVEN),
        (completion_tokens * model.output_price * model.price_unit).quantize(_PRICE_STEP, ROUND_HALF_EVEN),
        model.currency,
        latency,
        first,
        round(latency - first, 3) if first is not None else None,
    )


class Account(msgspec.Struct, kw_only=True):
    """A person who signs in to the console."""

    id: str
    name: str
    email: str
    password: str
    role: str  # owner, admin, editor, normal
    timezone: str
    created_at: datetime


class EndUser(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who uses an app without an account."""

    id: str
    app_id: str
    type: str  # service-api, browser, trigger
    session_id: str


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One node of an app's graph."""

    id: str
    type: str
    title: str
    model: Model | None = None
    inside: str | None = None  # id of the container around it
    inside_type: str = "iteration"  # or loop
    calls: str | None = None  # name of the app a workflow tool runs
    dataset: str | None = None  # name of the dataset it searches
    retries: int = 0
    error_strategy: str | None = None  # default-value: its failure does not end the run


class App(msgspec.Struct, kw_only=True):
    """One app and how it is built."""

    id: str
    name: str
    mode: str
    created_at: datetime
    updated_at: datetime
    created_by: str
    workflow_id: str | None
    key: str  # of the service API
    stages: tuple[Stage, ...] = ()
    model: Model | None = None  # of chat, completion and agent apps
    dataset: str | None = None
    inputs: tuple[str, ...] = ()  # names of the variables a caller must give
    triggers: tuple[str, ...] = ()  # webhook, schedule, plugin
    tags: tuple[str, ...] = ()
    weight: float = 1.0  # its share of the traffic
    prompts: tuple[str, ...] = ()
    answer: str = ""
    enable_api: bool = True
    max_active_requests: int | None = None
    key_used_at: datetime | None = None

    @property
    def has_workflow(self) -> bool:
        """Whether its requests are runs of a workflow."""
        return self.workflow_id is not None

    @property
    def version(self) -> str:
        """The name of its published workflow: the time of publishing."""
        return self.created_at.strftime("%Y-%m-%d %H:%M:%S.%f")


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One node of a run, executed once."""

    id: str
    index: int
    stage: Stage
    status: str  # running, succeeded, failed, exception
    created_at: datetime
    elapsed: float | None = None  # seconds; None while it runs
    usage: Usage | None = None  # of its own call, or of everything inside a container or tool
    error: str | None = None
    inside_index: int | None = None  # which round of the container
    rounds: tuple[float, ...] = ()  # of a container: seconds of each round
    retries: int = 0  # attempts that failed before this one
    child_run_id: str | None = None
    text: str = ""

    @property
    def finished_at(self) -> datetime | None:
        """Its end; None while it runs."""
        return None if self.elapsed is None else self.created_at + timedelta(seconds=self.elapsed)

    @property
    def is_leaf(self) -> bool:
        """Whether its usage is that of a model call of its own."""
        return self.usage is not None and self.stage.model is not None

    def begun(self) -> Node:
        """The row as it stands while the node runs."""
        return Node(id=self.id, index=self.index, stage=self.stage, status="running", created_at=self.created_at)


class Run(msgspec.Struct, kw_only=True):
    """One run of a workflow or chatflow. The defaults are what stands there until it ends."""

    id: str
    app_id: str
    workflow_id: str
    version: str
    triggered_from: str  # app-run, debugging, webhook, schedule, plugin
    created_by: EndUser | Account
    created_at: datetime
    inputs: Json
    conversation_id: str | None = None
    message_id: str | None = None
    status: str = "running"
    outputs: Json = {}
    error: str | None = None
    elapsed_time: float = 0.0
    total_tokens: int = 0
    total_steps: int = 0
    exceptions_count: int = 0
    finished_at: datetime | None = None

    @property
    def created_by_id(self) -> str:
        """Who started it, end user or account."""
        return self.created_by.id


class RunEnd(msgspec.Struct, frozen=True, kw_only=True):
    """What Dify writes into a run when it ends, all at once."""

    status: str
    outputs: Json
    error: str | None
    elapsed_time: float
    total_tokens: int
    total_steps: int
    exceptions_count: int
    finished_at: datetime


class Thought(msgspec.Struct, frozen=True, kw_only=True):
    """One round of an agent."""

    id: str
    position: int
    thought: str
    tool: str
    tool_input: str
    observation: str
    tokens: int


class Message(msgspec.Struct, kw_only=True):
    """One question with its answer. Nothing marks it complete: it is empty until it is filled."""

    id: str
    app_id: str
    conversation_id: str
    invoke_from: str  # service-api, web-app, debugger
    query: str
    inputs: Json
    from_end_user_id: str | None
    from_account_id: str | None
    created_at: datetime  # whole seconds
    parent_message_id: str | None
    workflow_run_id: str | None = None
    model: Model | None = None
    message_tokens: int = 0
    answer_tokens: int = 0
    total_price: Decimal = Decimal("0.0000000")
    currency: str = "USD"
    answer: str = ""
    provider_response_latency: float = 0.0
    status: str = "normal"
    error: str | None = None
    usage: Usage | None = None
    thoughts: tuple[Thought, ...] = ()
    is_filled: bool = False


class MessageEnd(msgspec.Struct, frozen=True, kw_only=True):
    """What Dify writes into a message at the end of its request."""

    answer: str
    status: str
    error: str | None
    provider_response_latency: float
    message_tokens: int = 0
    answer_tokens: int = 0
    total_price: Decimal = Decimal("0.0000000")
    currency: str = "USD"
    usage: Usage | None = None
    thoughts: tuple[Thought, ...] = ()
    is_filled: bool = True


class Conversation(msgspec.Struct, kw_only=True):
    """A string of messages of one person with one app."""

    id: str
    app_id: str
    name: str
    invoke_from: str
    end_user: EndUser | None
    account: Account | None
    inputs: Json
    created_at: datetime
    updated_at: datetime
    read_at: datetime | None = None
    is_deleted: bool = False


class Feedback(msgspec.Struct, kw_only=True):
    """One side's rating of one message."""

    id: str
    app_id: str
    conversation_id: str
    message_id: str
    rating: str  # like, dislike
    content: str | None
    from_source: str  # user, admin
    from_end_user_id: str | None
    from_account: Account | None
    created_at: datetime
    updated_at: datetime


class AppLog(msgspec.Struct, frozen=True, kw_only=True):
    """What the log of a workflow app keeps of one run, written when it starts."""

    id: str
    run: Run
    created_from: str  # service-api, web-app, installed-app
    created_at: datetime


class Document(msgspec.Struct, kw_only=True):
    """One document of a dataset."""

    id: str
    name: str
    position: int
    created_at: datetime
    word_count: int
    tokens: int
    segments: int
    indexing_status: str = "completed"
    error: str | None = None
    hit_count: int = 0


class Retrieval(msgspec.Struct, frozen=True, kw_only=True):
    """One search in one dataset."""

    id: str
    query: str
    source_app_id: str
    created_by: EndUser | Account
    created_at: datetime


class Dataset(msgspec.Struct, kw_only=True):
    """One knowledge base."""

    id: str
    name: str
    created_at: datetime
    indexing_technique: str  # economy, high_quality
    embedding_model: Model | None
    documents: list[Document]
    retrievals: list[Retrieval]  # oldest first


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One model call that really happened: the truth beside everything that is told about it."""

    app_id: str
    run_id: str | None
    message_id: str | None
    created_at: datetime
    usage: Usage
    is_debug: bool
    is_told: bool  # False: Dify itself lost it

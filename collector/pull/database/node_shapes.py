"""The JSON of a calling node in the shape Dify has written since 1.0, read in one go; every other shape is refused.

What comes in are the texts of a row; what goes out is what the ledger would say of them, or None where only the
ledger can say. When in doubt, it is None. Prompts are skipped, not decoded, but for the kinds of their files.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated

import msgspec

from collector.fields import LARGEST_INTEGER, MONEY_STEP
from collector.ledger import provider_name
from collector.pull.database.values import CUT, ends, is_cut, last_members, strict_json

MOST_DIGITS = 8
"""Amounts of more digits before the point are nearly too large for the store: the ledger decides."""

Count = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_INTEGER)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


_ABSENT = msgspec.Raw(b"null")


class Metadata(msgspec.Struct):
    """execution_metadata; what a usage would hold besides is only asked for its presence."""

    total_tokens: Count | None = None
    total_price: object = None
    iteration_id: str | None = None
    loop_id: str | None = None
    agent_log: msgspec.Raw = _ABSENT  # a long list, as a rule
    latency: object = None
    time_to_first_token: object = None
    cached_tokens: object = None
    reasoning_tokens: object = None
    prompt_tokens_details: object = None
    completion_tokens_details: object = None

    def tells_more(self) -> bool:
        """Whether it may know something of a call's usage besides total and price."""
        return (
            (self.agent_log is not _ABSENT and bytes(self.agent_log).startswith(b"{"))
            or self.latency is not None
            or self.time_to_first_token is not None
            or self.cached_tokens is not None
            or self.reasoning_tokens is not None
            or self.prompt_tokens_details is not None
            or self.completion_tokens_details is not None
        )


class Details(msgspec.Struct):
    """prompt_tokens_details and completion_tokens_details."""

    cached_tokens: Count | None = None
    reasoning_tokens: Count | None = None


class Usage(msgspec.Struct):
    """A usage that splits input and output."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count | None = None
    total_price: str | None = None
    currency: str | None = None
    latency: Seconds | None = None
    time_to_first_token: Seconds | None = None
    cached_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Details | None = None


class File(msgspec.Struct):
    """A file of a prompt."""

    type: str | None = None


class Prompt(msgspec.Struct):
    """A prompt, of which only the files are looked at."""

    files: list[File] | None = None


class Process(msgspec.Struct):
    """process_data of a call."""

    usage: Usage
    model_provider: str | None = None
    model_name: str | None = None
    prompts: list[Prompt] | None = None


class Outputs(msgspec.Struct):
    """outputs of a call, where they repeat the usage."""

    usage: Usage | None = None
    own_usage: object = msgspec.field(default=None, name="__usage")


class Told(msgspec.Struct):
    """What one call was and spent."""

    model_provider: str | None
    model_name: str | None
    is_vision: bool | None
    usage: Usage
    cost: Decimal | None

    @property
    def cached_input_tokens(self) -> int | None:
        """Of the usage itself, or of its details."""
        details, told = self.usage.prompt_tokens_details, self.usage.cached_tokens
        return details.cached_tokens if told is None and details is not None else told

    @property
    def reasoning_output_tokens(self) -> int | None:
        """Of the usage itself, or of its details."""
        details, told = self.usage.completion_tokens_details, self.usage.reasoning_tokens
        return details.reasoning_tokens if told is None and details is not None else told


_metadata = msgspec.json.Decoder(Metadata)
_process = msgspec.json.Decoder(Process)
_outputs = msgspec.json.Decoder(Outputs)
_NO_METADATA = Metadata()
_PROMPTS_FIRST = re.compile(rb'\{("model_mode": ?"[^"\\]*", ?)?"prompts": ?\[\{')


def read_metadata(written: str | None) -> Metadata | None:
    """execution_metadata; None for another shape."""
    if not written or written == "{}":
        return _NO_METADATA
    metadata: Metadata | None = strict_json(_metadata, written)
    return metadata


def read_call(process: bytes | None, outputs: bytes | None, metadata: Metadata) -> Told | None:
    """What the call was and spent, if process_data tells it and nothing else tells more; None for another shape."""
    read, is_vision = _read_process(process) if process else (None, None)
    if read is None:
        return None
    usage, cost = read.usage, None
    if not (usage.prompt_tokens or usage.completion_tokens):
        return None
    if usage.total_price:
        cost = _amount(usage.total_price)
        if cost is None:
            return None
    if _tell_more(outputs, usage, cost) or metadata.tells_more() or (cost is None and metadata.total_price is not None):
        return None
    return Told(provider_name(read.model_provider or None), read.model_name or None, is_vision, usage, cost)


def _read_process(written: bytes) -> tuple[Process | None, bool | None]:
    """process_data, whole or by its two ends, and whether there was an image."""
    if not is_cut(written):
        process: Process | None = strict_json(_process, written)
        return process, _has_image(process.prompts) if process is not None else None
    head, tail = ends(written)
    if not _PROMPTS_FIRST.match(head):  # there is an image, or something else to look at
        return None, None
    process = last_members(tail, "usage", _process)
    if process is None or not (process.model_provider and process.model_name):
        return None, None
    return process, False


def _tell_more(outputs: bytes | None, usage: Usage, cost: Decimal | None) -> bool:
    """Whether the outputs may know what process_data does not."""
    if outputs is None:
        return False
    if outputs == CUT:
        return cost is None or not usage.currency or usage.latency is None or usage.time_to_first_token is None
    repeated: Outputs | None = None if is_cut(outputs) else strict_json(_outputs, outputs)
    if repeated is None or repeated.own_usage is not None:
        return True
    return repeated.usage is not None and repeated.usage != usage


def _amount(written: str) -> Decimal | None:
    try:
        amount = Decimal(written).quantize(MONEY_STEP)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount.adjusted() < MOST_DIGITS else None


def _has_image(prompts: list[Prompt] | None) -> bool | None:
    if not prompts:
        return None
    files = [file for prompt in prompts if prompt.files for file in prompt.files]
    return any(file.type == "image" for file in files)

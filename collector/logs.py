"""Log lines: a short fixed phrase plus fields, to stderr, with secrets and contents taken out.

In come events of structlog and of the standard library's loggers (uvicorn, httpx, APScheduler); out goes one line each,
for people on a terminal, as JSON elsewhere. Whatever a caller passes by mistake, this never writes a credential, a
prompt or an answer: fields of such names are emptied, texts known or shaped like a secret masked, in tracebacks too.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Collection, Mapping
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from collector.settings.written import MASK

SECRET_NAMES = re.compile(
    r"(^|[_-])(password|passwd|secret|token|key|apikey|authorization|auth|cookie|cookies|csrf|credentials?)$",
    re.IGNORECASE,
)
"""Names of fields that hold a credential. `tokens` is a count, and `key` in `key_fingerprint` is not its last word."""

CONTENTS = frozenset(
    {"answer", "body", "content", "files", "headers", "inputs", "outputs", "process_data", "prompt", "prompts", "query"}
)
"""Names of fields that hold what people wrote or models answered."""

_SHAPES = re.compile(
    r"(?P<keep>\b(?:bearer|basic)\s+)[\w.~+/=-]{6,}"  # Authorization
    r"|(?P<url>://[^/\s:@]*:)[^/\s@]+(?=@)"  # user:password@host
    r"|(?P<kind>\b(?:app|dataset)-)[A-Za-z0-9]{16,}"  # Dify's own keys
    r"|(?P<ours>\bdm_[0-9a-f]{8}_)[\w-]{20,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",  # a JSON web token
    re.IGNORECASE,
)


def set_up_logs(
    level: Literal["debug", "info", "warning", "error"] = "info",
    format: Literal["auto", "console", "json"] = "auto",
    *,
    secrets: Collection[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Send every log line of the process to `stream` (stderr), without the `secrets`. May be called again."""
    stream = stream or sys.stderr
    is_json = format == "json" or (format == "auto" and not stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper("iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
        Masking(secrets),
    ]
    look: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if is_json
        else structlog.dev.ConsoleRenderer(colors=stream.isatty(), timestamp_key="at")
    )
    output = logging.StreamHandler(stream)
    output.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, look]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [output]
    root.setLevel(level.upper())
    _quieten()
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _quieten() -> None:
    # They write a line per request or per tick at info; ours says the same once per pass.
    for chatty in ("httpx", "httpcore", "apscheduler", "uvicorn.access", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    for own in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(own).handlers.clear()
        logging.getLogger(own).propagate = True
    for ours in ("uvicorn", "uvicorn.error"):  # whoever set up a server before may have silenced them
        logging.getLogger(ours).setLevel(logging.NOTSET)


class Masking:
    """A structlog processor that takes secrets and contents out of an event, however deep they stand."""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        # The longest first: one secret may be a part of another. Very short ones would mask half of every line.
        known = sorted((secret for secret in secrets if len(secret) >= 4), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {name: value if name.startswith("_") else self._field(name, value) for name, value in event.items()}

    def text(self, written: str) -> str:
        """A text without known or likely secrets."""
        if self._known:
            written = self._known.sub(MASK, written)
        return _SHAPES.sub(
            lambda found: (found["keep"] or found["url"] or found["kind"] or found["ours"] or "") + MASK, written
        )

    def _field(self, name: str, value: object) -> object:
        if name.lower() in CONTENTS:
            return "(not logged)"
        return MASK if SECRET_NAMES.search(name) and value is not None else self._value(value)

    def _value(self, value: object) -> object:
        match value:
            case None | bool() | int() | float():
                return value
            case Mapping():
                return {str(name): self._field(str(name), inner) for name, inner in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self._value(inner) for inner in value]
            case _:
                return self.text(str(value))

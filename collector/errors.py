"""Every error dify-metric raises on purpose, sorted by what the caller does next.

    DifyMetricError
    ├── SettingsError    a setting is missing or wrong       stop, exit 2
    ├── Unauthorized     Dify refused the credentials        sign in again, once
    ├── Forbidden        this endpoint is not for our role   skip the endpoint, go on
    ├── NotFound         what was asked for is gone          skip it, go on
    ├── Rejected         Dify takes no such question (400)   skip the question, go on
    ├── Unavailable      Dify cannot answer now              try later (`retry_after_seconds`)
    ├── ShapeError       one record cannot be read           set it aside, count it, go on
    ├── StoreError       the store refused a batch           stop the pass, keep the watermark
    │   ├── StoreBusy    another process holds the file      ask the service that runs there
    │   └── Misfit       a value has no room in its column   leave its record out, go on
    └── QueryError       the question has no answer          tell the caller, HTTP 400

Messages say what, where, what was expected and what to do. They never carry a credential, a prompt or an answer.
"""

from __future__ import annotations

from collections.abc import Iterable


class DifyMetricError(Exception):
    """The root: catch it to mean "anything dify-metric raises on purpose"."""


class SettingsError(DifyMetricError):
    """A setting is missing, malformed or contradicts another one."""


class Unauthorized(DifyMetricError):
    """Dify answered 401: the key, the token or the password is not accepted."""


class Forbidden(DifyMetricError):
    """Dify answered 403: the account's role may not read this endpoint."""


class NotFound(DifyMetricError):
    """Dify answered 404: the app, the conversation or the endpoint does not exist (any more)."""


class Rejected(DifyMetricError):
    """Dify answered 400 or another 4xx: a parameter, its value or the method is not what this version takes."""


class Unavailable(DifyMetricError):
    """Dify could not be reached or could not answer; a later try may succeed."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ShapeError(DifyMetricError):
    """One record has a field that cannot be read. `field` names it, `wanted` says what it should be."""

    def __init__(self, field: str, wanted: str, got: object) -> None:
        super().__init__(f"{field}: wanted {wanted}, got {_brief(got)}; record set aside")
        self.field = field
        self.wanted = wanted


class StoreError(DifyMetricError):
    """The store could not be opened, read or written."""


class StoreBusy(StoreError):
    """Another process has the store open: a running service, most likely."""


class Misfit(StoreError):
    """A record holds a value that its column cannot hold; `field` is table.column. Nothing of its batch was stored."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class QueryError(DifyMetricError):
    """A query names a measure, dimension, period or filter that does not exist or does not fit.

    `field` is the query's parameter at fault ("measure", "by", "since", ...); `choices` what could stand there;
    `remedy` what to do, where that is more than to write it right.
    """

    def __init__(
        self, message: str, *, field: str | None = None, choices: Iterable[str] = (), remedy: str | None = None
    ) -> None:
        super().__init__(message)
        self.field = field
        self.choices = tuple(choices)
        self.remedy = remedy


def _brief(value: object) -> str:
    """What a value looks like without quoting it at length: it may hold a prompt."""
    if isinstance(value, str) and len(value) > 40:
        return f"text of {len(value)} characters"
    if isinstance(value, dict | list):
        return f"{type(value).__name__} of {len(value)}"
    return repr(value)

"""One request to the simulated Dify, read the way Dify reads it; and the errors it refuses with.

What comes in is the query, path and body of a request; what goes out are checked values, or a `Refusal` in Dify's
words. Endpoints take an `Ask` and give what becomes JSON. Nothing here knows a route.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from collector.demo.rows import Account, App, Dataset, EndUser, Json
from collector.demo.statistics import Window
from collector.demo.world import World

_NOT_THERE = " You have requested this URI [{path}] but did you mean {path} ?"
_PYDANTIC = "https://errors.pydantic.dev/2.11/v/"


Endpoint: TypeAlias = Callable[["Ask"], object]


class Refusal(Exception):
    """An answer that is an error: `{"code", "message", "status"}` with that status."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Ask(msgspec.Struct, kw_only=True):
    """One request, after signing in."""

    world: World
    now: datetime
    path: str
    address: str  # scheme and host
    version: tuple[int, ...]  # of Dify
    path_values: Mapping[str, str]
    query: Mapping[str, str]
    body: Json
    account: Account | None = None  # of the console
    key_app: App | None = None  # of the service API

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the account that asks."""
        return ZoneInfo(self.account.timezone if self.account else "UTC")

    @property
    def app(self) -> App:
        """The app of the path, or of the key. Raises Refusal when it is gone."""
        if self.key_app:
            return self.key_app
        found = self.world.apps.get(self.path_values["app_id"])
        if found is None:
            raise Refusal(404, "app_not_found", "App not found.")
        return found

    @property
    def dataset(self) -> Dataset:
        """The dataset of the path."""
        found = self.world.datasets.get(self.path_values["dataset_id"])
        if found is None:
            raise Refusal(404, "not_found", "Dataset not found.")
        return found

    def app_in(self, *modes: str) -> App:
        """The app of the path, which must be of one of these modes."""
        app = self.app
        if app.mode not in modes:
            listed = "{" + ", ".join(f"'{mode}'" for mode in sorted(modes)) + "}"
            raise self.gone(f"App mode is not in the supported list: {listed}.", code="app_not_found")
        return app

    def gone(self, message: str, code: str = "not_found") -> Refusal:
        """A 404 with the guess at the right address that Dify adds."""
        return Refusal(404, code, message + _NOT_THERE.format(path=self.path))

    def whole(self, name: str, *, query: str, default: int, most: int, least: int = 1) -> int:
        """A whole number of the query; `query` is what Dify calls its validator."""
        given = self.query.get(name)
        if given is None:
            return default
        if not given.lstrip("-").isdigit():
            said = "Input should be a valid integer, unable to parse string as an integer"
            raise invalid(query, name, said, "int_parsing", given)
        value = int(given)
        if value > most:
            raise invalid(query, name, f"Input should be less than or equal to {most}", "less_than_equal", given)
        if value < least:
            raise invalid(query, name, f"Input should be greater than or equal to {least}", "greater_than_equal", given)
        return value

    def choice(self, name: str, *, query: str, among: tuple[str, ...]) -> str | None:
        """One of some words of the query, or None."""
        given = self.query.get(name)
        if given is None or given in among:
            return given
        *first, last = (f"'{word}'" for word in among)
        said = f"Input should be {', '.join(first)} or {last}"
        raise invalid(query, name, said, "literal_error", given)

    def required(self, name: str, *, query: str) -> str:
        """A word of the query that must be there."""
        given = self.query.get(name)
        if not given:
            raise invalid(query, name, "Field required", "missing", {})
        return given

    def user(self, name: str | None) -> EndUser | None:
        """The end user of a session, if the app knows it."""
        return self.world.known_user(self.app, name) if name else None


def invalid(query: str, field: str, said: str, kind: str, given: object) -> Refusal:
    """400 in the words of Dify's validator."""
    shape: Literal["str", "dict"] = "str" if isinstance(given, str) else "dict"
    return Refusal(
        400,
        "invalid_param",
        f"1 validation error for {query}\n{field}\n  {said} "
        f"[type={kind}, input_value={given!r}, input_type={shape}]\n"
        f"    For further information visit {_PYDANTIC}{kind}",
    )


def page_of(found: list[Json], *, page: int, limit: int, total: int) -> Json:
    """A numbered page."""
    return {"page": page, "limit": limit, "total": total, "has_more": total > page * limit, "data": found}


def window_of(ask: Ask) -> Window:
    """The `start` and `end` of a request, in the account's time zone."""
    try:
        return Window.asked(ask.query.get("start"), ask.query.get("end"), ask.zone)
    except ValueError as error:
        raise Refusal(400, "bad_request", str(error)) from None

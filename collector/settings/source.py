"""One Dify of several: what stands under `[[dify]]` in the settings file.

Comes in: a table. Goes out: a DifySource, the form in which the one Dify of the plain `dify_*` settings is given too.
Nothing here reads a file.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, field_validator, model_validator

from collector.settings.written import PathPrefix, Span, Text, Url, VersionText

SignIn: TypeAlias = Literal["admin key", "password", "token"]

UNNAMED = "dify"
"""What the Dify of the plain settings is called."""

Name: TypeAlias = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]

Secret: TypeAlias = Annotated[SecretStr, Field(min_length=1)]


class DifySource(BaseModel):
    """Where a Dify is, how to sign in to it, and what differs from the settings for all."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    name: Name
    url: Url | None = None
    path_prefix: PathPrefix = ""
    admin_key: Secret | None = None
    workspace_id: Text | None = None
    email: Text | None = None
    password: Secret | None = None
    token: Secret | None = None
    app_keys: Secret | None = None
    version: VersionText | None = None
    pull_interval: Span | None = None
    pull_concurrency: Annotated[int, Field(ge=1, le=32)] | None = None
    pull_budget_seconds: Annotated[float, Field(gt=0)] | None = None
    broker_url: Secret | None = None
    broker_cache_url: Secret | None = None
    broker_interval: Span = timedelta(seconds=30)
    database_url: Secret | None = None
    database_interval: Span = timedelta(seconds=60)
    database_statement_seconds: Annotated[float, Field(gt=0)] = 120
    database_rows_per_second: Annotated[float, Field(gt=0)] | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_as_number(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("no true or false")
        return value

    @model_validator(mode="after")
    def _can_be_asked(self) -> DifySource:
        given = {name for name in SIGN_IN if getattr(self, name) is not None}
        if fault := sign_in_fault(given, has_database=self.database_url is not None):
            raise ValueError(fault)
        if self.sign_in and not self.url:
            raise ValueError("credentials but no url; set the address of Dify")
        if self.url and not self.sign_in:
            raise ValueError(
                "url but no way to sign in; set admin_key with workspace_id, email with password, or token"
            )
        if not self.url and not self.broker_url and not self.database_url:
            raise ValueError("neither url nor database_url nor broker_url; nothing would be read")
        if self.broker_cache_url and not self.broker_url:
            raise ValueError("broker_cache_url without broker_url; set both")
        return self

    @property
    def sign_in(self) -> SignIn | None:
        """How to sign in; None when no credentials are set."""
        if self.admin_key:
            return "admin key"
        if self.password:
            return "password"
        return "token" if self.token else None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that no log line may show."""
        values = (getattr(self, name) for name in SOURCE_SECRETS)
        given = (value.get_secret_value() for value in values if value is not None)
        return (*given, *several(self.app_keys))

    def __str__(self) -> str:
        return self.name


SIGN_IN = ("admin_key", "workspace_id", "email", "password", "token")
SOURCE_SECRETS = ("admin_key", "password", "token", "app_keys", "broker_url", "broker_cache_url", "database_url")
"""Fields that are never shown, and may be given as `<name>_file`."""


def several(secret: SecretStr | None) -> tuple[str, ...]:
    """The secrets of a text that holds several, apart by commas, blanks or lines."""
    return tuple(secret.get_secret_value().replace(",", " ").split()) if secret else ()


def sign_in_fault(given: set[str], prefix: str = "", *, has_database: bool = False) -> str | None:
    """What is wrong with a choice of credentials, by their field names behind `prefix`; None when nothing is.

    A workspace without a key says which one of a database is read.
    """
    if has_database and "admin_key" not in given:
        given = given - {"workspace_id"}
    pairs = {"admin_key", "workspace_id"}, {"email", "password"}
    ways: list[set[str]] = [way for way in (given & pairs[0], given & pairs[1], given & {"token"}) if way]
    if len(ways) > 1:
        named = ", ".join(" + ".join(sorted(f"{prefix}{name}" for name in way)) for way in ways)
        return f"more than one way to sign in to Dify ({named}); keep one"
    for pair in pairs:
        half: Any = given & pair
        if len(half) == 1:
            (missing,) = pair - half
            return f"{prefix}{half.pop()} without {prefix}{missing}; set both"
    return None

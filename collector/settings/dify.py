"""Where Dify is and how to sign in to it, what may be read beside its console, and which Difys that makes."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import SecretStr, field_validator, model_validator

from collector.settings.group import Group, field
from collector.settings.source import SIGN_IN, UNNAMED, DifySource, SignIn, sign_in_fault
from collector.settings.written import PathPrefix, Span, Text, Url, VersionText


class Dify(Group):
    """The Dify of the plain settings, and the tables of further ones."""

    dify_url: Url | None = field(
        None,
        "URL",
        "Address of Dify, without /console/api. Without it nothing is pulled.",
        example="https://dify.example.com",
    )
    dify_path_prefix: PathPrefix = field(
        "",
        "path",
        "Path before /console/api, where a portal stands in front of Dify.",
        example="/ai-portal/proxy",
    )
    dify_admin_key: SecretStr | None = field(
        None,
        "secret",
        "Dify's ADMIN_API_KEY; needs dify_workspace_id. The best way to sign in: no password, no expiry.",
        min_length=1,
    )
    dify_workspace_id: Text | None = field(
        None,
        "id",
        "The workspace the admin key reads; with database_url, the only one that is read there.",
        example="e85a4b2c-6a3b-4a52-9c02-8e9d3b0a4d6f",
    )
    dify_email: Text | None = field(
        None, "text", "Account to sign in with; needs dify_password.", example="metrics@example.com"
    )
    dify_password: SecretStr | None = field(None, "secret", "Password of dify_email.", min_length=1)
    dify_token: SecretStr | None = field(
        None, "secret", "A console access token, used as it is and never renewed.", min_length=1
    )
    dify_app_keys: SecretStr | None = field(
        None,
        "secret",
        "Keys of apps (app-…), apart by commas or lines. Feedback of these apps is read by their service API, with the "
        "time of every change; of others by the console's export. Dify notes such a key as used by that.",
        min_length=1,
    )
    dify_version: VersionText | None = field(
        None,
        "version",
        "Dify's version, where no answer tells it: behind a portal that drops X-Version, or where no console is read. "
        "Which of Dify's totals are in doubt depends on it.",
        example="1.11.1",
    )

    dify: tuple[DifySource, ...] = field(
        (),
        "tables",
        "Further Difys or workspaces, each under [[dify]] with a name of its own; only in the settings file.",
        example='[{ name = "lab", url = "https://dify.lab.example.com", token = "a console token" }]',
    )

    @field_validator("dify", mode="before")
    @classmethod
    def _only_tables(cls, value: object) -> object:
        if isinstance(value, str | dict):
            raise ValueError("tables, each under [[dify]] with two brackets, in the settings file")
        return value

    @property
    def versions(self) -> dict[str, str]:
        """The versions that were set, by our names for their Difys; the plain one may be read by nobody."""
        named = {source.name: source.version for source in self.dify}
        return {name: version for name, version in {UNNAMED: self.dify_version, **named}.items() if version}

    @property
    def sign_in(self) -> SignIn | None:
        """How to sign in to Dify; None when no credentials are set."""
        if self.dify_admin_key:
            return "admin key"
        if self.dify_password:
            return "password"
        return "token" if self.dify_token else None


class Servers(Group):
    """What stands behind Dify and may be read too: its broker and its database."""

    broker_url: SecretStr | None = field(
        None,
        "secret",
        "Dify's CELERY_BROKER_URL, to measure its queues. Needs the extra [broker]; a user that may only read will do.",
        min_length=1,
    )
    broker_cache_url: SecretStr | None = field(
        None,
        "secret",
        "Where Dify's cache is, for its waiting lists of workspaces; default: database 0 of the same Redis.",
        min_length=1,
    )
    broker_interval: Span = field(timedelta(seconds=30), "span", "Time between two looks at the queues.")

    database_url: SecretStr | None = field(
        None,
        "secret",
        "Dify's PostgreSQL, postgresql://user:password@host:5432/dify, read in place of most of the console API. Needs "
        "the extra [database]; a role that may only read will do.",
        min_length=1,
    )
    database_interval: Span = field(timedelta(seconds=60), "span", "Time between two passes over the database.")
    database_statement_seconds: float = field(
        120, "seconds", "Longest wait for one answer of the database; it is asked to end what takes longer.", gt=0
    )
    database_rows_per_second: float | None = field(
        None,
        "rows/s",
        "So many rows are read from the database at most; default: as fast as it goes.",
        example="5000",
        gt=0,
    )


class Sources(Servers, Dify):
    """Every Dify there is to read."""

    @model_validator(mode="after")
    def _one_way_to_sign_in(self) -> Self:
        given = {name for name in SIGN_IN if getattr(self, f"dify_{name}") is not None}
        if fault := sign_in_fault(given, "dify_", has_database=self.database_url is not None):
            raise ValueError(fault)
        if self.sign_in and not self.dify_url:
            raise ValueError("credentials but no dify_url; set the address of Dify")
        if self.broker_cache_url and not self.broker_url:
            raise ValueError("broker_cache_url without broker_url; set both")
        return self

    @property
    def sources(self) -> tuple[DifySource, ...]:
        """Every Dify there is to read, the one of the plain settings first."""
        is_asked = self.dify_url is not None and self.sign_in is not None
        if not is_asked and self.broker_url is None and self.database_url is None:
            return self.dify
        told = SIGN_IN if is_asked else ("workspace_id",) if self.database_url else ()
        signed_in = {name: getattr(self, f"dify_{name}") for name in told}
        plain = DifySource(
            name=UNNAMED,
            url=self.dify_url if is_asked else None,
            path_prefix=self.dify_path_prefix,
            app_keys=self.dify_app_keys,
            version=self.dify_version,
            broker_url=self.broker_url,
            broker_cache_url=self.broker_cache_url,
            broker_interval=self.broker_interval,
            database_url=self.database_url,
            database_interval=self.database_interval,
            database_statement_seconds=self.database_statement_seconds,
            database_rows_per_second=self.database_rows_per_second,
            **signed_in,
        )
        return (plain, *self.dify)

"""What `serve` keeps, where it is asked, and who may ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import SecretStr

from collector.access import Scope
from collector.settings.group import Group, field
from collector.settings.written import Address, Listen, Text

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
"""Where only this machine can reach us."""


class Serving(Group):
    """The store, the port, and the keys."""

    store: Text = field("dify-metric.duckdb", "path", "The DuckDB file that keeps the facts.")
    listen: Listen = field(Address("127.0.0.1", 9180), "host:port", "Where pages, REST and /metrics are served.")
    access: Literal["auto", "open", "keys"] = field(
        "auto",
        "choice",
        "Who may ask: open is everyone, keys who shows one; auto is open where only this machine can reach `listen`.",
    )
    admin_token: SecretStr | None = field(
        None, "secret", "A key that may do everything: the one to make others with. Commands show it too.", min_length=1
    )
    read_token: SecretStr | None = field(
        None, "secret", "A key that may ask for everything. Commands that ask a service show it.", min_length=1
    )
    ingest_token: SecretStr | None = field(
        None,
        "secret",
        "A key that may send facts and have Dify read. Once it is set, who does must show it, on this machine too.",
        min_length=1,
    )
    metrics_token: SecretStr | None = field(
        None, "secret", "A key that may scrape /metrics. Once it is set, Prometheus must show it.", min_length=1
    )

    @property
    def is_open(self) -> bool:
        """Whether who shows no key may ask."""
        return self.access == "open" or (self.access == "auto" and self.listen.host in LOOPBACK)

    @property
    def tokens(self) -> Mapping[Scope, str]:
        """The keys that stand in the settings, by what they may do."""
        given = {scope: getattr(self, f"{scope}_token") for scope in Scope}
        return {scope: token.get_secret_value() for scope, token in given.items() if token is not None}

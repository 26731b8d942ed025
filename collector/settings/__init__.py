"""Everything that can be set: one frozen Settings, its fields the table that help, `check` and the reference page read.

Comes in: values by field name. Goes out: Settings, and `describe`, which lists what is in force and who said so, with
secrets masked. Each group of fields is a module beside this one, with what is checked and worked out of it. Where
values are looked for is `configuration.py`, how people write them `written.py`. Nothing here reads a file or an
environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import PrivateAttr, SecretStr, model_validator
from pydantic.fields import FieldInfo

from collector.settings.dify import Dify, Sources
from collector.settings.group import NUMBERS, field
from collector.settings.keeping import Keeping
from collector.settings.money import Money
from collector.settings.pulling import Pace, Reading
from collector.settings.reporting import Reporting
from collector.settings.series import Series
from collector.settings.serving import LOOPBACK, Serving
from collector.settings.source import SIGN_IN, UNNAMED, DifySource, SignIn, several
from collector.settings.tapping import Tap
from collector.settings.written import spelled

__all__ = [
    "BY_DEFAULT",
    "FIELDS",
    "LOOPBACK",
    "NUMBERS",
    "PREFIX",
    "SECRETS",
    "SIGN_IN_FIELDS",
    "DifySource",
    "Setting",
    "Settings",
    "SignIn",
    "describe",
    "variable",
]

PREFIX = "DIFY_METRIC_"
BY_DEFAULT = "default"

SIGN_IN_FIELDS = tuple(f"dify_{name}" for name in SIGN_IN)


class Settings(Reporting, Tap, Serving, Money, Keeping, Sources, Reading, Series, Pace, Dify):
    """What is in force. A field's name in upper case after DIFY_METRIC_ is its environment variable."""

    # Its fields, and what is checked, come in the order of the groups from the last to the first; its own come last.

    log_level: Literal["debug", "info", "warning", "error"] = field(
        "info", "choice", "The least urgent log line to write."
    )
    log_format: Literal["auto", "console", "json"] = field(
        "auto", "choice", "How log lines look; auto is console on a terminal and json elsewhere."
    )

    _origins: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _each_dify_has_its_name(self) -> Self:
        names = [source.name for source in self.sources]
        for name in names:
            if names.count(name) > 1:
                more = f"; {UNNAMED} is that of the plain settings" if name == UNNAMED else ""
                raise ValueError(f"two Difys called {name}{more}; give each a name of its own")
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that no log line may show."""
        values = (getattr(self, name) for name in SECRETS)
        own = (value.get_secret_value() for value in values if value is not None)
        keys = [*several(self.dify_app_keys), *(hook.url for hook in self.webhooks)]
        keys += [hook.sign_with for hook in self.webhooks if hook.sign_with]
        if (server := self.mail_server) and server.password:
            keys.append(server.password)
        return (*own, *keys, *(secret for source in self.dify for secret in source.secrets))

    def origin(self, name: str) -> str:
        """Who set a field: "default", "environment variable DIFY_METRIC_RETRIES", "dify-metric.toml line 3"."""
        return self._origins.get(name, BY_DEFAULT)

    def told_by(self, origins: Mapping[str, str]) -> Settings:
        """The same settings, knowing who set them."""
        known = self.model_copy()
        known._origins = dict(origins)
        return known


FIELDS: Mapping[str, FieldInfo] = Settings.model_fields
SECRETS = tuple(name for name, field in FIELDS.items() if field.annotation == SecretStr | None)
"""Fields that are masked everywhere, and may be given as `<name>_file`."""


@dataclass(frozen=True)
class Setting:
    """One field as people see it. Texts are spelled as one would write them; a secret's value is a mask."""

    name: str
    value: str
    source: str
    default: str
    unit: str
    help: str
    variable: str
    example: str
    is_secret: bool


def describe(settings: Settings) -> list[Setting]:
    """Every setting with what is in force and who said so, in the order of the fields."""
    return [_described(settings, name, field) for name, field in FIELDS.items()]


def variable(name: str) -> str:
    """The environment variable of a field."""
    return PREFIX + name.upper()


def _described(settings: Settings, name: str, field: FieldInfo) -> Setting:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    default = spelled(field.default)
    return Setting(
        name=name,
        value=spelled(getattr(settings, name)),
        source=settings.origin(name),
        default=default,
        unit=str(extra["unit"]),
        help=field.description or "",
        variable=variable(name),
        example=str(extra["example"]) or default,
        is_secret=name in SECRETS,
    )

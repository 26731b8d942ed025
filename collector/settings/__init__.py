"""Everything that can be set: one frozen Settings, its fields the table that help, `check` and the reference page read.

Comes in: values by field name. Goes out: Settings, and `describe`, which lists what is in force and who said so, with
secrets masked. Where values are looked for is `configuration.py`, how people write them `written.py`. Nothing here
reads a file or an environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from collector.access import Scope
from collector.settings.sending import MailServer, Webhook, mail_server, webhooks
from collector.settings.source import SIGN_IN, UNNAMED, DifySource, SignIn, several, sign_in_fault
from collector.settings.written import (
    AccountName,
    Address,
    Behind,
    Choices,
    Kinds,
    Listen,
    MailAddresses,
    PathPrefix,
    ReportForms,
    Span,
    Text,
    TimeOfDay,
    Upstreams,
    Url,
    VersionText,
    Zone,
    spelled,
)

PREFIX = "DIFY_METRIC_"
BY_DEFAULT = "default"

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
"""Where only this machine can reach us."""

__all__ = ["FIELDS", "SECRETS", "DifySource", "Setting", "Settings", "SignIn", "describe", "variable"]

NUMBERS = (int, float, float | None)
"""The types of fields that are numbers."""

SIGN_IN_FIELDS = tuple(f"dify_{name}" for name in SIGN_IN)


def _field(default: object, unit: str, help: str, *, example: str = "", **limits: Any) -> Any:
    return Field(default, description=help, json_schema_extra={"unit": unit, "example": example}, **limits)


def _keep(facts: str) -> Any:
    return _field(
        None,
        "span",
        f"Age at which {facts} go; default: never. Totals by quarter hour, and users, stay for ever; percentiles, and "
        "what is asked by user, conversation or payer, know only what is still there. With `prices`, what is "
        "rated stays until its month is closed.",
        example="400d",
    )


class Settings(BaseModel):
    """What is in force. A field's name in upper case after DIFY_METRIC_ is its environment variable."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    dify_url: Url | None = _field(
        None,
        "URL",
        "Address of Dify, without /console/api. Without it nothing is pulled.",
        example="https://dify.example.com",
    )
    dify_path_prefix: PathPrefix = _field(
        "",
        "path",
        "Path before /console/api, where a portal stands in front of Dify.",
        example="/ai-portal/proxy",
    )
    dify_admin_key: SecretStr | None = _field(
        None,
        "secret",
        "Dify's ADMIN_API_KEY; needs dify_workspace_id. The best way to sign in: no password, no expiry.",
        min_length=1,
    )
    dify_workspace_id: Text | None = _field(
        None,
        "id",
        "The workspace the admin key reads; with database_url, the only one that is read there.",
        example="e85a4b2c-6a3b-4a52-9c02-8e9d3b0a4d6f",
    )
    dify_email: Text | None = _field(
        None, "text", "Account to sign in with; needs dify_password.", example="metrics@example.com"
    )
    dify_password: SecretStr | None = _field(None, "secret", "Password of dify_email.", min_length=1)
    dify_token: SecretStr | None = _field(
        None, "secret", "A console access token, used as it is and never renewed.", min_length=1
    )
    dify_app_keys: SecretStr | None = _field(
        None,
        "secret",
        "Keys of apps (app-…), apart by commas or lines. Feedback of these apps is read by their service API, with the "
        "time of every change; of others by the console's export. Dify notes such a key as used by that.",
        min_length=1,
    )
    dify_version: VersionText | None = _field(
        None,
        "version",
        "Dify's version, where no answer tells it: behind a portal that drops X-Version, or where no console is read. "
        "Which of Dify's totals are in doubt depends on it.",
        example="1.11.1",
    )

    dify: tuple[DifySource, ...] = _field(
        (),
        "tables",
        "Further Difys or workspaces, each under [[dify]] with a name of its own; only in the settings file.",
        example='[{ name = "lab", url = "https://dify.lab.example.com", token = "a console token" }]',
    )

    pull_interval: Span = _field(timedelta(seconds=60), "span", "Time between two pulls of the same stream.")
    history_days: int = _field(
        30, "days", "How far back the first pull of an app goes; later pulls go on where the last one ended.", ge=1
    )
    pull_overlap: Span = _field(
        timedelta(minutes=10), "span", "How far behind its watermark each pull reads again, for facts that came late."
    )
    pull_concurrency: int = _field(
        4, "requests", "Requests to Dify at the same time. One default API container serves ten in all.", ge=1, le=32
    )
    pull_budget_seconds: float = _field(
        30, "seconds", "Longest pull of one stream of one app before the others get their turn.", gt=0
    )
    node_budget: int = _field(
        500, "runs", "Runs whose node executions one pull of an app reads; the next pull reads on.", ge=1
    )
    reconcile_interval: Span = _field(
        timedelta(hours=1),
        "span",
        "Time between two readings of Dify's own statistics, which ours are compared with.",
    )
    most_series: int = _field(
        10_000,
        "series",
        "Series that one Prometheus family may have; the others are counted together, their labels `_OTHER`. "
        "GET /api/v1/cardinality says how many there are.",
        ge=1,
    )
    series_limits: Choices = _field(
        (),
        "choices",
        "Series that some families may have, where that is not most_series: FAMILY=NUMBER, several with commas. "
        "dify_llm_cost_*_total stands for every currency.",
        example="dify_llm_calls_total=2000",
    )
    label_values: Choices = _field(
        (),
        "choices",
        "The only values that a label of Prometheus may have, the others being `_OTHER`: LABEL=VALUE|VALUE, several "
        "with commas.",
        example="model_name=gpt-4o|qwen-max",
    )
    more_labels: Choices = _field(
        (),
        "choices",
        "Labels that counters have as well: FAMILY=LABEL|LABEL, several with commas; user_id, user_kind, user_name, "
        "session_id, key_fingerprint, person, department, cost_centre. They are counted from facts: not for long where "
        "`keep_` lets those go.",
        example="dify_llm_input_tokens_total=user_id",
    )
    most_label_values: int = _field(
        20,
        "values",
        "Values that a label of more_labels may have, the biggest first; who has a series keeps it, the others are "
        "`_OTHER`.",
        ge=1,
    )
    top_users: int = _field(
        0,
        "users",
        "So many users, those who spent most tokens in 24 hours, are in dify_top_user_tokens, keys by requests in "
        "dify_top_key_requests; 0: neither is there.",
        ge=0,
        le=1000,
    )
    pull_debug_runs: bool = _field(
        False, "true/false", "Also read runs of the editor's preview. They are marked, and counted apart."
    )
    read_completions: bool = _field(
        False,
        "true/false",
        "Read the messages of completion apps for their tokens. Dify then shows these conversations as read.",
    )
    request_timeout_seconds: float = _field(30, "seconds", "Longest wait for one answer of Dify.", gt=0)
    retries: int = _field(4, "tries", "Further tries of a request that Dify could not answer.", ge=0, le=20)
    open_run_max_age: Span = _field(
        timedelta(hours=24), "span", "Age at which a run that Dify never ended is called stale."
    )
    message_open_seconds: float = _field(
        600, "seconds", "Age at which a message without an answer is called stale.", gt=0
    )

    broker_url: SecretStr | None = _field(
        None,
        "secret",
        "Dify's CELERY_BROKER_URL, to measure its queues. Needs the extra [broker]; a user that may only read will do.",
        min_length=1,
    )
    broker_cache_url: SecretStr | None = _field(
        None,
        "secret",
        "Where Dify's cache is, for its waiting lists of workspaces; default: database 0 of the same Redis.",
        min_length=1,
    )
    broker_interval: Span = _field(timedelta(seconds=30), "span", "Time between two looks at the queues.")

    database_url: SecretStr | None = _field(
        None,
        "secret",
        "Dify's PostgreSQL, postgresql://user:password@host:5432/dify, read in place of most of the console API. Needs "
        "the extra [database]; a role that may only read will do.",
        min_length=1,
    )
    database_interval: Span = _field(timedelta(seconds=60), "span", "Time between two passes over the database.")
    database_statement_seconds: float = _field(
        120, "seconds", "Longest wait for one answer of the database; it is asked to end what takes longer.", gt=0
    )
    database_rows_per_second: float | None = _field(
        None,
        "rows/s",
        "So many rows are read from the database at most; default: as fast as it goes.",
        example="5000",
        gt=0,
    )

    keep_runs: Span | None = _keep("runs")
    keep_node_executions: Span | None = _keep("node executions")
    keep_model_calls: Span | None = _keep("model calls")
    keep_messages: Span | None = _keep("messages")
    keep_requests: Span | None = _keep("requests the tap saw")
    keep_retrievals: Span | None = _keep("retrievals")
    keep_portal_events: Span | None = _keep("portal events")
    keep_pulls: Span | None = _keep("our own pulls")

    payers: Text | None = _field(
        None,
        "path",
        "The TOML or CSV file that says which users, keys, apps and workspaces belong to whom.",
        example="payers.toml",
    )
    prices: Text | None = _field(
        None,
        "path",
        "The TOML file that says what models cost and who pays less; bills are made by it.",
        example="prices.toml",
    )
    billing_account: AccountName = _field(
        "Dify", "text", "Who runs this Dify, as exported bills name it; in ASCII.", example="Example Ltd"
    )
    budget_webhook: Url | None = _field(
        None,
        "URL",
        "Where to POST a message, as JSON, when a budget of the price book will not last the month or is used up.",
        example="https://hooks.example.com/budgets",
    )

    store: Text = _field("dify-metric.duckdb", "path", "The DuckDB file that keeps the facts.")
    listen: Listen = _field(Address("127.0.0.1", 9180), "host:port", "Where pages, REST and /metrics are served.")
    access: Literal["auto", "open", "keys"] = _field(
        "auto",
        "choice",
        "Who may ask: open is everyone, keys who shows one; auto is open where only this machine can reach `listen`.",
    )
    admin_token: SecretStr | None = _field(
        None, "secret", "A key that may do everything: the one to make others with. Commands show it too.", min_length=1
    )
    read_token: SecretStr | None = _field(
        None, "secret", "A key that may ask for everything. Commands that ask a service show it.", min_length=1
    )
    ingest_token: SecretStr | None = _field(
        None,
        "secret",
        "A key that may send facts and have Dify read. Once it is set, who does must show it, on this machine too.",
        min_length=1,
    )
    metrics_token: SecretStr | None = _field(
        None, "secret", "A key that may scrape /metrics. Once it is set, Prometheus must show it.", min_length=1
    )
    tap: Listen | None = _field(
        None,
        "host:port",
        "Where `serve` starts a tap beside it, for small sites: callers ask there what they asked Dify.",
        example="0.0.0.0:9183",
    )
    tap_listen: Listen = _field(
        Address("127.0.0.1", 9183), "host:port", "Where `tap` takes the requests that callers have for Dify."
    )
    tap_upstream: Upstreams = _field(
        (),
        "URLs",
        "Where the tap passes requests on to, several as [HOST][/PREFIX]=URL with commas; default: dify_url.",
        example="http://dify-api:5001",
    )
    tap_collector: Url = _field(
        "http://127.0.0.1:9180", "URL", "The collector that `tap` sends its records to; it needs the ingest_token."
    )
    tap_spool: Text = _field("dify-metric-spool", "path", "The folder that keeps records until the collector has them.")
    tap_spool_bytes: int = _field(
        1 << 30, "bytes", "Most that the spool may take; beyond it the oldest records go.", ge=1 << 20
    )
    tap_workers: int = _field(1, "processes", "Processes that share the tap's port.", ge=1, le=64)
    tap_admin: Listen = _field(
        Address("127.0.0.1", 9181), "host:port", "Where the tap itself answers /metrics and /health."
    )
    tap_advertise: Listen | None = _field(
        None,
        "host:port",
        "Where Prometheus reaches tap_admin, as the collector lists it; default: the address the tap asks it from.",
        example="tap-1.example.com:9181",
    )
    tap_stop_seconds: float = _field(
        300, "seconds", "How long answers on their way may go on when the tap is told to stop.", ge=0
    )
    tap_keeps_host: bool = _field(
        True, "true/false", "Tell upstreams the Host that callers asked for, as a proxy before Dify does."
    )
    tap_tls_cert: Text | None = _field(
        None, "path", "Certificate chain (PEM) that the tap shows callers.", example="/etc/dify-metric/tap.pem"
    )
    tap_tls_key: Text | None = _field(
        None, "path", "Its key, where it is not in the same file.", example="/etc/dify-metric/tap.key"
    )
    tap_upstream_ca: Text | None = _field(
        None, "path", "Authorities (PEM) that upstreams are checked against.", example="/etc/dify-metric/ca.pem"
    )
    tap_collector_ca: Text | None = _field(
        None, "path", "Authorities (PEM) that the collector is checked against.", example="/etc/dify-metric/ca.pem"
    )
    report_timezone: Zone = _field(
        "UTC", "IANA name", "Whose days, weeks and months answers use unless a query says otherwise."
    )
    report_schedule: Kinds = _field(
        (),
        "choices",
        "Reports to send when their period is over: day, week, month, several with commas. A report that goes nowhere "
        "is not made: set report_folder, report_recipients or report_webhooks too.",
        example="week, month",
    )
    report_at: TimeOfDay = _field(
        "08:00", "HH:MM", "When they are sent, on the day after their period, in report_timezone."
    )
    report_language: Literal["en", "zh"] = _field("en", "choice", "The language of reports that name none.")
    report_formats: ReportForms = _field(
        ("html", "xlsx"), "choices", "The files of a report that is sent: html, xlsx, csv, pdf, json."
    )
    report_folder: Text | None = _field(
        None, "path", "The folder that reports are written into.", example="/var/lib/dify-metric/reports"
    )
    report_recipients: MailAddresses = _field(
        (), "addresses", "Who gets them by mail; needs smtp_url and report_from.", example="lead@example.com"
    )
    report_from: MailAddresses = _field(
        (), "address", "Whom that mail is from.", example="dify-metric <reports@example.com>"
    )
    smtp_url: SecretStr | None = _field(
        None,
        "secret",
        "The mail server, smtp://user:password@host:587, smtps:// for TLS from the first byte, smtp+starttls:// for "
        "TLS or no mail. Without TLS no password is shown to another machine.",
        min_length=1,
    )
    smtp_ca: Text | None = _field(
        None, "path", "Authorities (PEM) that the mail server is checked against.", example="/etc/dify-metric/ca.pem"
    )
    report_webhooks: SecretStr | None = _field(
        None,
        "secret",
        "Where a message with the headline numbers is posted, several with commas: URLs of WeCom, DingTalk and Feishu "
        "robots, or of anything that takes JSON; as NAME=URL#SECRET with a name and a secret to sign with.",
        min_length=1,
    )
    report_templates: Text | None = _field(
        None,
        "path",
        "A folder with templates of your own (report.html, mail.html, style.css) in place of ours.",
        example="/etc/dify-metric/templates",
    )
    log_level: Literal["debug", "info", "warning", "error"] = _field(
        "info", "choice", "The least urgent log line to write."
    )
    log_format: Literal["auto", "console", "json"] = _field(
        "auto", "choice", "How log lines look; auto is console on a terminal and json elsewhere."
    )

    _origins: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_as_number(cls, value: object, about: ValidationInfo) -> object:
        # Python takes true for 1; in a file it is a slip.
        if isinstance(value, bool) and cls.model_fields[about.field_name or ""].annotation in NUMBERS:
            raise ValueError("a number")
        return value

    @model_validator(mode="after")
    def _one_way_to_sign_in(self) -> Settings:
        given = {name for name in SIGN_IN if getattr(self, f"dify_{name}") is not None}
        if fault := sign_in_fault(given, "dify_", has_database=self.database_url is not None):
            raise ValueError(fault)
        if self.sign_in and not self.dify_url:
            raise ValueError("credentials but no dify_url; set the address of Dify")
        if self.broker_cache_url and not self.broker_url:
            raise ValueError("broker_cache_url without broker_url; set both")
        if self.tap and not self.upstreams:
            raise ValueError("tap without an upstream; set tap_upstream, or dify_url, to the address of Dify")
        if self.tap_tls_key and not self.tap_tls_cert:
            raise ValueError("tap_tls_key without tap_tls_cert; set both")
        return self

    @field_validator("smtp_url")
    @classmethod
    def _is_mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            mail_server(value.get_secret_value())
        return value

    @field_validator("report_webhooks")
    @classmethod
    def _are_webhooks(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            webhooks(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _reports_can_be_sent(self) -> Settings:
        if self.report_recipients and not (self.smtp_url and self.report_from):
            raise ValueError("report_recipients without a way to reach them; set smtp_url and report_from")
        if len(self.report_from) > 1:
            raise ValueError("report_from with several addresses; a mail is from one")
        goes_somewhere = self.report_folder or self.report_recipients or self.report_webhooks
        if self.report_schedule and not goes_somewhere:
            raise ValueError(
                "report_schedule without a destination; set report_folder, report_recipients or report_webhooks"
            )
        return self

    @field_validator("dify", mode="before")
    @classmethod
    def _only_tables(cls, value: object) -> object:
        if isinstance(value, str | dict):
            raise ValueError("tables, each under [[dify]] with two brackets, in the settings file")
        return value

    @model_validator(mode="after")
    def _each_dify_has_its_name(self) -> Settings:
        names = [source.name for source in self.sources]
        for name in names:
            if names.count(name) > 1:
                more = f"; {UNNAMED} is that of the plain settings" if name == UNNAMED else ""
                raise ValueError(f"two Difys called {name}{more}; give each a name of its own")
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

    @property
    def upstreams(self) -> tuple[Behind, ...]:
        """Where a tap passes requests on to; () where nothing says so."""
        if self.tap_upstream or self.dify_url is None:
            return self.tap_upstream
        return (Behind(self.dify_url),)

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

    @property
    def mail_server(self) -> MailServer | None:
        """Who takes mail."""
        return mail_server(self.smtp_url.get_secret_value()) if self.smtp_url else None

    @property
    def webhooks(self) -> tuple[Webhook, ...]:
        """Where reports are posted."""
        return webhooks(self.report_webhooks.get_secret_value()) if self.report_webhooks else ()

    @property
    def is_open(self) -> bool:
        """Whether who shows no key may ask."""
        return self.access == "open" or (self.access == "auto" and self.listen.host in LOOPBACK)

    @property
    def tokens(self) -> Mapping[Scope, str]:
        """The keys that stand in the settings, by what they may do."""
        given = {scope: getattr(self, f"{scope}_token") for scope in Scope}
        return {scope: token.get_secret_value() for scope, token in given.items() if token is not None}

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

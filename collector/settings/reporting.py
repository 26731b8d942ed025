"""Which reports are made, when, and how they reach people."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import SecretStr, field_validator, model_validator

from collector.settings.group import Group, field
from collector.settings.sending import MailServer, Webhook, mail_server, webhooks
from collector.settings.written import Kinds, MailAddresses, ReportForms, Text, TimeOfDay, Zone


class Reporting(Group):
    """Reports: their language and form, their schedule, and the ways out."""

    report_timezone: Zone = field(
        "UTC", "IANA name", "Whose days, weeks and months answers use unless a query says otherwise."
    )
    report_schedule: Kinds = field(
        (),
        "choices",
        "Reports to send when their period is over: day, week, month, several with commas. A report that goes nowhere "
        "is not made: set report_folder, report_recipients or report_webhooks too.",
        example="week, month",
    )
    report_at: TimeOfDay = field(
        "08:00", "HH:MM", "When they are sent, on the day after their period, in report_timezone."
    )
    report_language: Literal["en", "zh"] = field("en", "choice", "The language of reports that name none.")
    report_formats: ReportForms = field(
        ("html", "xlsx"), "choices", "The files of a report that is sent: html, xlsx, csv, pdf, json."
    )
    report_folder: Text | None = field(
        None, "path", "The folder that reports are written into.", example="/var/lib/dify-metric/reports"
    )
    report_recipients: MailAddresses = field(
        (), "addresses", "Who gets them by mail; needs smtp_url and report_from.", example="lead@example.com"
    )
    report_from: MailAddresses = field(
        (), "address", "Whom that mail is from.", example="dify-metric <reports@example.com>"
    )
    smtp_url: SecretStr | None = field(
        None,
        "secret",
        "The mail server, smtp://user:password@host:587, smtps:// for TLS from the first byte, smtp+starttls:// for "
        "TLS or no mail. Without TLS no password is shown to another machine.",
        min_length=1,
    )
    smtp_ca: Text | None = field(
        None, "path", "Authorities (PEM) that the mail server is checked against.", example="/etc/dify-metric/ca.pem"
    )
    report_webhooks: SecretStr | None = field(
        None,
        "secret",
        "Where a message with the headline numbers is posted, several with commas: URLs of WeCom, DingTalk and Feishu "
        "robots, or of anything that takes JSON; as NAME=URL#SECRET with a name and a secret to sign with.",
        min_length=1,
    )
    report_templates: Text | None = field(
        None,
        "path",
        "A folder with templates of your own (report.html, mail.html, style.css) in place of ours.",
        example="/etc/dify-metric/templates",
    )

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
    def _reports_can_be_sent(self) -> Self:
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

    @property
    def mail_server(self) -> MailServer | None:
        """Who takes mail."""
        return mail_server(self.smtp_url.get_secret_value()) if self.smtp_url else None

    @property
    def webhooks(self) -> tuple[Webhook, ...]:
        """Where reports are posted."""
        return webhooks(self.report_webhooks.get_secret_value()) if self.report_webhooks else ()

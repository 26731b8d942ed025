"""Who pays, what is asked, and who hears of a budget that will not last."""

from __future__ import annotations

from collector.settings.group import Group, field
from collector.settings.written import AccountName, Text, Url


class Money(Group):
    """Payers, prices and bills."""

    payers: Text | None = field(
        None,
        "path",
        "The TOML or CSV file that says which users, keys, apps and workspaces belong to whom.",
        example="payers.toml",
    )
    prices: Text | None = field(
        None,
        "path",
        "The TOML file that says what models cost and who pays less; bills are made by it.",
        example="prices.toml",
    )
    billing_account: AccountName = field(
        "Dify", "text", "Who runs this Dify, as exported bills name it; in ASCII.", example="Example Ltd"
    )
    budget_webhook: Url | None = field(
        None,
        "URL",
        "Where to POST a message, as JSON, when a budget of the price book will not last the month or is used up.",
        example="https://hooks.example.com/budgets",
    )

"""What a bill is made of: the columns of its lines, and what is known of a period that was closed.

Billing makes these, the store keeps them. Nothing here computes, reads or writes.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import ClassVar

import msgspec
import pyarrow as pa

from collector.records import Instant

UNIT_PRICE, SHARE, AMOUNT = pa.decimal128(18, 12), pa.decimal128(5, 4), pa.decimal128(38, 16)
"""The price of one token or call; a discount, 0 to 1; money. The product of the first two and a quantity of up to 15
digits fits the last without rounding."""

LATER = ("dataset_id",)
"""Columns of the key that lines did not always have: where null, they change neither id nor digest of a line."""

KEY = (
    *("day", "workspace_id", "app_id", "person", "department", "cost_centre", "model_provider", "model_name", "kind"),
    *("currency", "per", "unit_price", "tier", "discount"),
    *LATER,
)
"""What tells one line of usage from another. Two usages with one key are one line."""

LINES = pa.schema(
    [
        ("id", pa.string()),  # of the key; of a correction: of its key, its period and the period it corrects
        ("period", pa.string()),  # 2026-01: in which it is billed
        ("corrects", pa.string()),  # the closed period it corrects; null: it bills usage of its own period
        ("corrects_line", pa.string()),  # the line there that it corrects, or that was missing there
        ("day", pa.date32()),  # of the usage, in the book's time zone
        ("workspace_id", pa.string()),
        ("app_id", pa.string()),
        ("app_name", pa.string()),  # as it was called when the line was made
        ("person", pa.string()),  # who pays, as the payers' file says
        ("department", pa.string()),
        ("cost_centre", pa.string()),
        ("model_provider", pa.string()),
        ("model_name", pa.string()),
        ("kind", pa.string()),  # of collector.billing.book; tokens: only their total is known; reported: Dify's price
        ("currency", pa.string()),  # ISO 4217; null: without a price
        ("per", pa.int64()),  # tokens that the book's price is of
        ("unit_price", UNIT_PRICE),  # of one token or call, before discount; null: without a price, or reported
        ("tier", pa.int64()),  # the quantity from which on this price counts in the period; 0: from the first on
        ("discount", SHARE),  # 0.1250 for 12.5 %
        ("quantity", pa.int64()),  # tokens, calls, days of something stored; below zero where a correction takes back
        ("list_amount", AMOUNT),  # quantity × unit price; reported: what Dify says
        ("amount", AMOUNT),  # list_amount × (1 - discount)
        ("dataset_id", pa.string()),  # knowledge base that was kept; null: a model was called
        ("dataset_name", pa.string()),  # as it was called when the line was made
    ]
)

FIRST_NAMES = tuple(name for name in LINES.names if not name.startswith("dataset_"))
"""The columns that lines always had, in the order in which a digest reads them."""


class RatedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line as questions ask for it: of closed periods as it is kept, of others as it would be kept now."""

    table: ClassVar[str] = "rated_line"
    created_at: Instant  # UTC; when its day began, or, of a correction, the month that bills it
    period: str
    corrects: str | None
    workspace_id: str | None
    app_id: str | None
    person: str | None
    department: str | None
    cost_centre: str | None
    model_provider: str | None
    model_name: str | None
    dataset_id: str | None
    kind: str
    currency: str | None
    quantity: int
    list_amount: Decimal
    amount: Decimal


class ClosedPeriod(msgspec.Struct, frozen=True, kw_only=True):
    """A period whose lines do not change any more."""

    period: str  # 2026-01
    starts_at: datetime  # UTC
    ends_at: datetime  # UTC, not included
    timezone: str  # IANA name, of the book it was closed with
    book: str  # SHA-256 of the price book's text
    lines: int
    digest: str  # SHA-256 over the lines and these bounds: the same wherever the same facts are rated the same way
    seal: str  # SHA-256 over the digest, who closed it when, and the seal of the period before
    closed_at: datetime  # UTC
    closed_by: str

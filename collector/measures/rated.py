"""Measures of bills: what usage costs by the price book, beside what Dify says (`cost`), and what has no price.

They are sums of the lines of bills, so they say what a bill says, to the last digit: of a closed month what was kept,
of others what the book says now. A correction counts in the month that bills it, at its start; usage on its day, which
is a day of the book's time zone and stands at its start.
"""

from __future__ import annotations

from collector.bill_lines import RatedLine
from collector.measures.by_call import CURRENCY
from collector.measures.flags import Flag
from collector.measures.measure import CURRENCY_UNIT, total

UNRATED = Flag(
    name="unrated",
    record=RatedLine,
    where="currency IS NULL AND quantity > 0",
    title="Lines without a price",
    title_zh="价目表未定价的明细",
    help="Lines of bills that cost nothing, because the price book has no price for them.",
)
RATED_COST = total(
    "rated_cost",
    RatedLine,
    "CASE WHEN currency IS NOT NULL THEN amount END",
    unit=CURRENCY_UNIT,
    always_by=(CURRENCY,),
    title="Rated cost",
    title_zh="计价费用",
    help="What usage costs by the price book, less discounts, always by currency: as bills say. Closed months as they "
    "were kept, corrections in the month that bills them. What has no price adds nothing and is flagged.",
    flags=(UNRATED,),
)
RATED_LIST_COST = total(
    "rated_list_cost",
    RatedLine,
    "CASE WHEN currency IS NOT NULL THEN list_amount END",
    unit=CURRENCY_UNIT,
    always_by=(CURRENCY,),
    title="Rated cost before discounts",
    title_zh="折前计价费用",
    help="The same before discounts.",
    flags=(UNRATED,),
)
UNRATED_TOKENS = total(
    "unrated_tokens",
    RatedLine,
    "quantity",
    where="currency IS NULL",
    unit="tokens",
    title="Tokens without a price in the book",
    title_zh="价目表未定价 Token",
    help="Tokens for which the price book has no price; by model and kind they are the list of what is not priced.",
)
MEASURES = (RATED_COST, RATED_LIST_COST, UNRATED_TOKENS)

"""Dimensions of the lines of bills: what is charged for, and what a line corrects."""

from __future__ import annotations

from collector.bill_lines import RatedLine
from collector.measures.dimension import Dimension

CHARGE_KIND = Dimension(
    name="charge_kind",
    title="Charged for",
    title_zh="计费项",
    help="input, cached_input, output, reasoning_output, request, image; stored_documents and the like of knowledge "
    "bases; tokens: only their total is known; reported: charged at Dify's own price.",
    columns={RatedLine: "kind"},
)
CORRECTS = Dimension(
    name="corrects",
    title="Corrects",
    title_zh="更正账期",
    help="The closed month that is corrected; null: usage of the month itself.",
    columns={RatedLine: "corrects"},
)
DIMENSIONS = (CHARGE_KIND, CORRECTS)

"""Facts and a price book -> lines, in SQL: calls are added up by day, payer, app and model, then priced.

What comes in are a period, a Book and `arrow` (a Store's); what goes out are Arrow tables of `collector.bill_lines`.
Counts are integers and money is DECIMAL all the way: nothing is divided, so nothing is rounded. Nothing here writes.

* A call belongs to the period it was made in, and to who paid at that instant: for its user, key, app or workspace.
* Console test runs are left out, as of every answer; so are calls that the book refunds.
* Tokens without a price are lines too, without currency and amount.
* Where the book says so, a call of a model that it has no price for costs what Dify says it cost: a line of a kind of
  its own, with the tokens and without a price of one.
* What knowledge bases held costs what `collector.billing.storage` says.
* Of a price with tiers the calls of a period fill its tiers in the order they were made, whoever made them: what all
  pay together does not depend on who they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any, TypeAlias

import pyarrow as pa

from collector.bill_lines import KEY, LATER, LINES
from collector.billing.book import (
    CALL_KINDS,
    EXTRA_CACHE,
    REPORTED,
    STORED_KINDS,
    SUBJECTS,
    TOKEN_KINDS,
    Book,
    Model,
    Price,
    Span,
    StoragePrice,
    steps,
)
from collector.billing.storage import LOOKS, shelves
from collector.measures.by_app import APP_NAME, WORKSPACE_ID
from collector.measures.by_user import COST_CENTRE, DEPARTMENT, KEY_FINGERPRINT, PERSON
from collector.period import Period
from collector.records import ModelCall

Arrow: TypeAlias = Callable[[str, Mapping[str, object]], pa.Table]
"""Run SQL with bound parameters: `Store.arrow`."""

TOTAL_ONLY = "tokens"
"""The kind of tokens of which nobody told whether they went in or came out."""

_DIMENSIONS = {
    "workspace_id": WORKSPACE_ID,
    "app_name": APP_NAME,
    "person": PERSON,
    "department": DEPARTMENT,
    "cost_centre": COST_CENTRE,
}
SPLIT = "key_fingerprint"
"""What lines can be split by beside: the app key that asked. No bill does, so no line that is kept changes by it."""

_WHOSE = "{split}day, workspace_id, app_id, app_name, person, department, cost_centre, model_provider, model_name"
_KEYS = ", ".join(KEY)
_KINDS = (*TOKEN_KINDS, *CALL_KINDS, TOTAL_ONLY)
_ONLY_PRICED = (*CALL_KINDS, *STORED_KINDS)
"""Kinds that are no line where the book has no price for them."""
_CALL = ModelCall.table
_COPIED = ", ".join(
    f"{_CALL}.{name}"
    for name in ("app_id", "model_provider", "model_name", "id", "created_at", "cost", "currency", "is_vision")
)
_EXTRA = "|".join(EXTRA_CACHE)
_MICROSECOND = timedelta(microseconds=1)

_CALLS = f"""
  SELECT {{columns}}, {_COPIED},
    CASE WHEN {_CALL}.input_tokens IS NOT NULL THEN {_CALL}.input_tokens
      WHEN {_CALL}.output_tokens IS NOT NULL THEN greatest({_CALL}.tokens - {_CALL}.output_tokens, 0) END AS told_input,
    CASE WHEN {_CALL}.output_tokens IS NOT NULL THEN {_CALL}.output_tokens
      WHEN {_CALL}.input_tokens IS NOT NULL THEN greatest({_CALL}.tokens - {_CALL}.input_tokens, 0) END AS told_output,
    {_CALL}.cached_input_tokens AS told_cached, {_CALL}.reasoning_output_tokens AS told_reasoning,
    {_CALL}.tokens AS told_tokens, CAST(make_timestamp(epoch_us({_CALL}.created_at) + {{offset}}) AS DATE) AS day
  FROM {_CALL}
  {{joins}}
  WHERE {_CALL}.created_at >= $since AND {_CALL}.created_at < $until
    AND {_CALL}.is_final AND {_CALL}.is_debug IS NOT TRUE
    AND NOT list_contains($refunded::VARCHAR[], {_CALL}.id)
"""

_SPANS = """
  SELECT unnest($span_provider::VARCHAR[]) AS provider, unnest($span_model::VARCHAR[]) AS model,
    unnest($span_from::DATE[]) AS from_day, unnest($span_until::DATE[]) AS until_day,
    unnest($span_price::INTEGER[]) AS price, unnest($span_extra::BOOLEAN[]) AS is_extra,
    unnest($span_cached::BOOLEAN[]) AS has_cached, unnest($span_reasoning::BOOLEAN[]) AS has_reasoning,
    unnest($span_tiered::BOOLEAN[]) AS is_tiered
"""

_RATES = """
  SELECT unnest($rate_price::INTEGER[]) AS price, unnest($rate_kind::VARCHAR[]) AS kind,
    unnest($rate_above::BIGINT[]) AS above, unnest($rate_below::BIGINT[]) AS below,
    unnest($rate_currency::VARCHAR[]) AS currency, unnest($rate_per::BIGINT[]) AS per,
    CAST(unnest($rate_unit::VARCHAR[]) AS DECIMAL(18, 12)) AS unit_price
"""

_DISCOUNTS = """
  SELECT unnest($discount_no::INTEGER[]) AS no, CAST(unnest($discount_share::VARCHAR[]) AS DECIMAL(5, 4)) AS share,
    unnest($discount_from::DATE[]) AS from_day, unnest($discount_until::DATE[]) AS until_day,
    unnest($discount_person::VARCHAR[]) AS person, unnest($discount_department::VARCHAR[]) AS department,
    unnest($discount_cost_centre::VARCHAR[]) AS cost_centre, unnest($discount_workspace::VARCHAR[]) AS workspace,
    unnest($discount_app::VARCHAR[]) AS app, unnest($discount_provider::VARCHAR[]) AS provider,
    unnest($discount_model::VARCHAR[]) AS model
"""

# Cached tokens are part of the input's or stand beside them; reasoning tokens are part of the output's. What has no
# price of its own costs what the whole costs. Who tells a part and not the whole has used that part at least.
_QUANTITIES = f"""
  SELECT call.*, span.price, coalesce(span.is_tiered, FALSE) AS is_tiered,
    coalesce(span.is_extra, regexp_matches(lower(call.model_provider), '{_EXTRA}'), FALSE) AS stands_beside,
    told_input IS NULL AND told_output IS NULL AND told_tokens IS NOT NULL AS is_total_only,
    CASE WHEN is_total_only THEN 0 ELSE coalesce(told_cached, 0) END AS cached,
    CASE WHEN is_total_only THEN 0 ELSE coalesce(told_reasoning, 0) END AS reasoning,
    coalesce(told_input, CASE WHEN stands_beside THEN 0 END, cached) AS whole_input,
    coalesce(told_output, reasoning) AS whole_output,
    CASE WHEN stands_beside THEN cached WHEN span.has_cached THEN least(cached, whole_input) ELSE 0 END AS cached_input,
    whole_input - CASE WHEN stands_beside THEN 0 ELSE cached_input END AS input,
    CASE WHEN span.has_reasoning THEN least(reasoning, whole_output) ELSE 0 END AS reasoning_output,
    whole_output - reasoning_output AS output,
    1 AS request, CAST(is_vision IS TRUE AS BIGINT) AS image,
    CASE WHEN is_total_only THEN told_tokens ELSE 0 END AS tokens,
    span.price IS NULL AND $is_reported_used AND call.cost > 0 AND call.currency IS NOT NULL AS is_reported
  FROM call LEFT JOIN span ON call.model_name = span.model AND coalesce(call.model_provider, '') = span.provider
    AND call.day >= span.from_day AND call.day < span.until_day
"""

_SUMS = ", ".join(f"CAST(sum({kind}) AS BIGINT) AS {kind}" for kind in _KINDS)
_SPREAD = f"unnest([{', '.join(repr(kind) for kind in _KINDS)}]) AS kind, unnest([{', '.join(_KINDS)}]) AS quantity"
_PRICED = f"{_WHOSE}, kind, above AS tier, currency, per, unit_price"
_IS_PRICED = f"(kind NOT IN ({', '.join(repr(kind) for kind in _ONLY_PRICED)}) OR unit_price IS NOT NULL)"
_STORED = "dataset_id, dataset_name"
_WIDE_PRICE = "CAST(unit_price AS DECIMAL(19, 12))"
"""DuckDB keeps products of decimals of up to 18 digits within 18 digits, and refuses those that are larger."""

# `measured` is read twice rather than kept: it is as long as there are calls.
_LINES = f"""
WITH call AS ({_CALLS}),
span AS ({_SPANS}),
rate AS ({_RATES}),
reduction AS ({_DISCOUNTS}),
measured AS NOT MATERIALIZED ({_QUANTITIES}),
daily AS (
  SELECT {_WHOSE}, price, CASE WHEN is_reported THEN currency END AS told_currency, {_SUMS},
    CAST(sum(coalesce(told_tokens, whole_input + whole_output)) AS BIGINT) AS told_quantity,
    CAST(sum(cost) AS DECIMAL(24, 9)) AS told_cost
  FROM measured WHERE NOT is_tiered GROUP BY ALL
),
plain AS (
  SELECT {_PRICED}, quantity
  FROM (SELECT {_WHOSE}, price, {_SPREAD} FROM daily WHERE told_currency IS NULL) AS part
  LEFT JOIN rate USING (price, kind)
  WHERE quantity <> 0 AND {_IS_PRICED}
),
{LOOKS.strip()},
filling AS (
  SELECT *, CAST(sum(quantity) OVER (PARTITION BY price, kind ORDER BY created_at, id) AS BIGINT) AS filled
  FROM (
    SELECT {_WHOSE}, price, created_at, id, {_SPREAD} FROM measured WHERE is_tiered
    UNION ALL BY NAME FROM stored
  ) AS part
  WHERE quantity <> 0
),
tiered AS (
  SELECT {_PRICED}, {_STORED},
    CASE WHEN above IS NULL THEN quantity
      ELSE least(filled, coalesce(below, filled)) - greatest(filled - quantity, above) END AS quantity
  FROM filling LEFT JOIN (SELECT * RENAME (price AS of_price, kind AS of_kind) FROM rate) AS step
    ON price = of_price AND kind = of_kind AND filled > above AND (below IS NULL OR filled - quantity < below)
  WHERE {_IS_PRICED}
),
told AS (
  SELECT {_WHOSE}, '{REPORTED}' AS kind, 0 AS tier, told_currency AS currency, 1 AS per,
    CAST(NULL AS DECIMAL(18, 12)) AS unit_price, told_quantity AS quantity, told_cost AS told_amount
  FROM daily WHERE told_currency IS NOT NULL
),
priced AS (
  SELECT {_PRICED.replace("above AS ", "")}, {_STORED}, CAST(sum(quantity) AS BIGINT) AS quantity,
    CAST(sum(told_amount) AS DECIMAL(24, 9)) AS told_amount
  FROM (FROM plain UNION ALL BY NAME FROM tiered UNION ALL BY NAME FROM told) GROUP BY ALL
),
reduced AS (
  SELECT *, CASE WHEN currency IS NOT NULL THEN coalesce((
    SELECT arg_min(share, no) FROM reduction AS r
    WHERE priced.day >= r.from_day AND priced.day < r.until_day
      AND coalesce(priced.person, '') GLOB r.person AND coalesce(priced.department, '') GLOB r.department
      AND coalesce(priced.cost_centre, '') GLOB r.cost_centre AND coalesce(workspace_id, '') GLOB r.workspace
      AND (coalesce(app_id, '') GLOB r.app OR coalesce(app_name, '') GLOB r.app)
      AND (coalesce(model_provider, '') GLOB r.provider
        OR regexp_extract(coalesce(model_provider, ''), '[^/]*$') GLOB r.provider)
      AND coalesce(model_name, '') GLOB r.model
  ), 0) END AS discount
  FROM priced
),
line AS (
  SELECT {_WHOSE}, {_STORED}, kind, currency, per, unit_price, tier, CAST(discount AS DECIMAL(5, 4)) AS discount,
    quantity,
    CAST(coalesce(CAST(quantity AS DECIMAL(15, 0)) * {_WIDE_PRICE}, told_amount, 0) AS DECIMAL(38, 16)) AS list_amount,
    CAST(coalesce(
      CAST(quantity AS DECIMAL(15, 0)) * ({_WIDE_PRICE} * CAST(1 - discount AS DECIMAL(5, 4))),
      told_amount * CAST(1 - discount AS DECIMAL(5, 4)), 0
    ) AS DECIMAL(38, 16)) AS amount
  FROM reduced
)
"""

_MONEY = ", ".join(f"CAST(sum({name}) AS DECIMAL(38, 16)) AS {name}" for name in ("list_amount", "amount"))

# Both sides of a difference are sums by key: what is there now, less what was billed for it so far.
_DELTA = f"""
, billed AS (FROM bill_line WHERE (period = $corrects AND corrects IS NULL) OR corrects = $corrects),
delta AS (
  SELECT {_KEYS}, max(app_name) AS app_name, max(dataset_name) AS dataset_name,
    CAST(sum(quantity) AS BIGINT) AS quantity, {_MONEY}
  FROM (
    SELECT {_KEYS}, app_name, dataset_name, quantity, list_amount, amount FROM line
    UNION ALL SELECT {_KEYS}, app_name, dataset_name, -quantity, -list_amount, -amount FROM billed
  ) GROUP BY {_KEYS} HAVING sum(quantity) <> 0 OR sum(amount) <> 0 OR sum(list_amount) <> 0
)
"""

_TOLD = ", ".join(  # what came later is left out where it is null, so that the ids of older lines stay
    f"'{name}=' || {name}" if name in LATER else f"coalesce(CAST({name} AS VARCHAR), chr(30))" for name in KEY
)
_KEY_ID = f"left(sha256(concat_ws(chr(31), {_TOLD})), 32)"


def rated(arrow: Arrow, book: Book, period: Period, name: str) -> pa.Table:
    """The lines of what was used in a period, by this book; `name` is what they call the period."""
    sql = f"""{_LINES}
    SELECT {_KEY_ID} AS id, $period AS period, NULL AS corrects, NULL AS corrects_line, * FROM line ORDER BY id"""
    return _asked(arrow, sql, book, period, {"period": name})


def split(arrow: Arrow, book: Book, period: Period, name: str) -> pa.Table:
    """The same lines, split by SPLIT, which is one column more: what they add up to is the same."""
    sql = f"""{_LINES}
    SELECT {_KEY_ID} AS id, $period AS period, NULL AS corrects, NULL AS corrects_line, * FROM line
    ORDER BY id, {SPLIT}"""
    return _asked(arrow, sql, book, period, {"period": name}, is_split=True)


def corrections(arrow: Arrow, book: Book, period: Period, corrects: str, name: str) -> pa.Table:
    """The lines by which the closed period `corrects`, billed so far, becomes what it is rated now; billed in `name`.

    None where nothing changed.
    """
    sql = f"""{_LINES}{_DELTA}
    SELECT left(sha256({_KEY_ID} || chr(31) || $period || chr(31) || $corrects), 32) AS id, $period AS period,
      $corrects AS corrects, {_KEY_ID} AS corrects_line, * FROM delta ORDER BY id"""
    return _asked(arrow, sql, book, period, {"period": name, "corrects": corrects})


_REPORTED = f"""
WITH call AS ({_CALLS})
SELECT workspace_id, app_id, CAST(NULL AS VARCHAR) AS dataset_id, model_provider, model_name, currency,
  CAST(sum(cost) AS DECIMAL(38, 9)) AS reported, count(*) AS calls,
  count(*) FILTER (WHERE told_input IS NULL AND told_output IS NULL AND told_tokens IS NULL) AS unmeasured
FROM call GROUP BY ALL ORDER BY ALL
"""


def reported(arrow: Arrow, book: Book, period: Period) -> pa.Table:
    """What Dify says the same calls cost, by app, model and currency; how many calls, and how many told no usage."""
    sql, parameters = _over_calls(_REPORTED, book, period)
    return arrow(sql, parameters)


def _asked(
    arrow: Arrow, sql: str, book: Book, period: Period, names: Mapping[str, object], *, is_split: bool = False
) -> pa.Table:
    first, last = (period.local(at).date() for at in (period.start, period.end - _MICROSECOND))
    spans = book.spans(_models(arrow, period), first, last + timedelta(days=1))
    sql, parameters = _over_calls(sql, book, period, is_split=is_split)
    used = {"is_reported_used": book.is_reported_used}
    found = arrow(sql, {**parameters, **_rates(spans, book), **_reductions(book), **used, **names})
    schema = LINES.append(pa.field(SPLIT, pa.string())) if is_split else LINES
    return found.select(schema.names).cast(schema)


def _over_calls(sql: str, book: Book, period: Period, *, is_split: bool = False) -> tuple[str, dict[str, object]]:
    """The statement with its calls spelled out, and what these bind."""
    split_by = {SPLIT: KEY_FINGERPRINT} if is_split else {}
    dimensions = _DIMENSIONS | split_by
    joins = dict.fromkeys(join for each in dimensions.values() for join in each.joins.get(ModelCall, ()))
    columns = ", ".join(f"{each.columns[ModelCall]} AS {name}" for name, each in dimensions.items())
    offset, parameters = _offset(period)
    told = {
        "columns": columns,
        "joins": "\n  ".join(joins),
        "offset": offset,
        "look_offset": offset.replace(f"{_CALL}.", "dataset_day."),
        "split": f"{SPLIT}, " if is_split else "",
    }
    for name, text in told.items():
        sql = sql.replace(f"{{{name}}}", text)
    refunded = [refund.call for refund in book.refunds]
    return sql, {**parameters, "since": period.start, "until": period.end, "refunded": refunded}


def _offset(period: Period) -> tuple[str, dict[str, object]]:
    """How far local time is from UTC, in microseconds, as SQL over `created_at`."""
    offsets = period.offsets()
    parameters: dict[str, object] = {f"offset_{n}": ahead // _MICROSECOND for n, (_, ahead) in enumerate(offsets)}
    parameters |= {f"change_{n}": since for n, (since, _) in enumerate(offsets[1:])}
    cases = [f"WHEN model_call.created_at < $change_{n} THEN $offset_{n}" for n in range(len(offsets) - 1)]
    last = f"$offset_{len(offsets) - 1}"
    return (f"CASE {' '.join(cases)} ELSE {last} END" if cases else last), parameters


def _models(arrow: Arrow, period: Period) -> list[Model]:
    sql = """SELECT DISTINCT model_provider, model_name FROM model_call
    WHERE created_at >= $since AND created_at < $until AND model_name IS NOT NULL ORDER BY ALL"""
    found = arrow(sql, {"since": period.start, "until": period.end}).to_pydict()
    return list(zip(found["model_provider"], found["model_name"], strict=True))


def _rates(spans: list[Span], book: Book) -> dict[str, object]:
    """The book's prices as columns of parameters; decimals as text, which SQL reads digit for digit."""
    numbers = {id(price): number for number, price in enumerate({id(s.price): s.price for s in spans}.values())}
    prices = {numbers[id(span.price)]: span.price for span in spans}
    kinds = {number: {kind for kind, *_ in steps(price)} for number, price in prices.items()}
    of, first = [numbers[id(span.price)] for span in spans], len(prices)
    priced: list[tuple[int, Price | StoragePrice]] = [*prices.items(), *enumerate(book.storage, first)]
    rates = [(number, price.currency, *step) for number, price in priced for step in steps(price)]
    return {
        "span_provider": [span.model[0] or "" for span in spans],
        "span_model": [span.model[1] for span in spans],
        "span_from": [span.start for span in spans],
        "span_until": [span.end for span in spans],
        "span_price": of,
        "span_extra": [span.price.is_extra(span.model[0]) for span in spans],
        "span_cached": ["cached_input" in kinds[number] for number in of],
        "span_reasoning": ["reasoning_output" in kinds[number] for number in of],
        "span_tiered": [bool(span.price.tiers) for span in spans],
        "rate_price": [number for number, *_ in rates],
        "rate_currency": [currency for _, currency, *_ in rates],
        "rate_kind": [kind for _, _, kind, *_ in rates],
        "rate_per": [per for _, _, _, per, *_ in rates],
        "rate_above": [above for *_, above, _, _ in rates],
        "rate_below": [below for *_, below, _ in rates],
        "rate_unit": [f"{unit:f}" for *_, unit in rates],
        **shelves(book, first),
    }


def _reductions(book: Book) -> dict[str, Any]:
    given = book.discounts
    return {
        "discount_no": list(range(len(given))),
        "discount_share": [f"{each.percent.scaleb(-2):f}" for each in given],
        "discount_from": [each.start or date(1970, 1, 1) for each in given],
        "discount_until": [each.end or date(9999, 1, 1) for each in given],
        **{f"discount_{name}": [getattr(each, name) or "*" for each in given] for name in SUBJECTS},
    }

"""The phrases PromQL expressions of dashboards and rules are made of. Texts in, a text out; nothing is asked here.

`$workspace`, `$app`, `$one_app`, `$model` and `$dataset` are a dashboard's variables; `$__range` is what is shown,
`$__rate_interval` what Grafana finds wide enough for a rate at the scrape interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

OF_APP = 'workspace_id=~"$workspace",app_id=~"$app"'
"""Limits a family that has the labels of an app to the apps chosen."""

OF_ONE = 'app_id="$one_app"'
OF_MODEL = f'{OF_APP},model_name=~"$model"'
OF_DATASET = 'workspace_id=~"$workspace",dataset_id=~"$dataset"'
ANY_MODEL = 'model_name=~"$model"'
OF_WORKSPACE = 'workspace_id=~"$workspace"'
OF_ALL = ""

INPUT, OUTPUT = "dify_llm_input_tokens_total", "dify_llm_output_tokens_total"

PERCENTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))

_NAMES = "max by (workspace_id, app_id, app_name) (dify_app_info)"


def matching(*conditions: str) -> str:
    """Label conditions as one."""
    return ",".join(condition for condition in conditions if condition)


def selected(family: str, where: str = OF_APP) -> str:
    """The series of a family that fulfil the conditions."""
    return f"{family}{{{where}}}" if where else family


def summed(family: str, by: str = "", where: str = OF_APP) -> str:
    """The values of now, added up."""
    return f"{_sum(by)} ({selected(family, where)})"


def grown(family: str, by: str = "", where: str = OF_APP) -> str:
    """How much a counter grew in the time shown."""
    return f"{_sum(by)} (increase({selected(family, where)}[$__range]))"


def grown_in_all(family: str, by: str = "", where: str = OF_APP) -> str:
    """How much it grew in the time shown, at every instant of it."""
    return f"{_sum(by)} (increase({selected(family, where)}[$__range] @ end()))"


def rate(family: str, by: str = "", where: str = OF_APP) -> str:
    """How fast a counter grows, per second."""
    return f"{_sum(by)} (rate({selected(family, where)}[$__rate_interval]))"


def per_minute(family: str, by: str = "", where: str = OF_APP) -> str:
    """The same per minute: of what is seldom, one can read that."""
    return f"{rate(family, by, where)} * 60"


def quantile(q: float, family: str, by: str = "", where: str = OF_APP) -> str:
    """A percentile of a histogram, from its buckets."""
    return f"histogram_quantile({q}, {rate(f'{family}_bucket', f'le, {by}' if by else 'le', where)})"


def percentiles(family: str, where: str = OF_APP) -> Iterable[tuple[str, str]]:
    """Legends and expressions of the usual percentiles of a histogram."""
    return tuple((name, quantile(q, family, where=where)) for name, q in PERCENTILES)


def share(part: str, whole: str) -> str:
    """One as a share of the other; nothing where there is no whole."""
    return f"{part} / ({whole} > 0)"


def named(expression: str) -> str:
    """An expression by workspace_id and app_id with the app's name beside; of a deleted app its id."""
    with_name = f"({expression}) * on (workspace_id, app_id) group_left (app_name) {_NAMES}"
    with_id = f'label_replace({expression}, "app_name", "$1", "app_id", "(.+)")'
    return f"({with_name}) or on (workspace_id, app_id) {with_id}"


def tokens(how: Callable[..., str], by: str = "", where: str = OF_APP) -> str:
    """Input and output tokens together; `how` is `rate` or `grown`."""
    return f"{how(INPUT, by, where)} + {how(OUTPUT, by, where)}"


def costs(where: str = OF_APP) -> str:
    """The cost counters of every currency, with the currency as a label."""
    any_cost = matching('__name__=~"dify_llm_cost_.+_total"', where)
    return f'label_replace({{{any_cost}}}, "currency", "$1", "__name__", "dify_llm_cost_(.+)_total")'


def biggest(number: int, expression: str) -> str:
    """The series that are highest now."""
    return f"topk({number}, {expression})"


def leading(number: int, expression: str, by: str, whole: str) -> str:
    """A line for each of the biggest in the whole time shown: the highest of each instant would be a tatter of many."""
    return f"({expression}) and on ({by}) topk({number}, {whole})"


def _sum(by: str) -> str:
    return f"sum by ({by})" if by else "sum"

"""What we write is what prometheus_client would write: its own parsers read the same from both."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain
from prometheus_client.registry import Collector

from collector.faces.exposition import Exemplar, Renderer, Shown
from collector.tap.figures import Board


class Peer(Collector):
    """The same families, for prometheus_client to write."""

    def __init__(self, families: Iterable[Shown]) -> None:
        self.families = list(families)

    def collect(self) -> Iterator[Metric]:
        for family in self.families:
            yield as_metric(family)


def as_metric(family: Shown) -> Metric:
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for labels, count in family.values.items():
            buckets = [(bound, family.up_to[*labels, bound]) for bound in family.bounds]
            histogram.add_metric(labels, [*buckets, ("+Inf", count)], family.sums.get(labels, 0.0))
        return histogram
    made = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = made(family.name, family.help, labels=family.labels)
    for labels, value in family.values.items():
        metric.add_metric(labels, value)
    return metric


def registry(families: Iterable[Shown]) -> CollectorRegistry:
    found = CollectorRegistry(auto_describe=False)
    found.register(Peer(families))
    return found


texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]) | st.sampled_from('\\"\n{},='), max_size=8
)
counts = st.integers(0, 10**15).map(float) | st.floats(0, 1e300)
numbers = counts | st.floats(allow_nan=True, allow_infinity=True)
words = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Z"]) | st.sampled_from('\\"\n'), max_size=9
)


def values(of: st.SearchStrategy, width: int) -> st.SearchStrategy:
    return st.dictionaries(st.tuples(*[texts] * width), of, max_size=4)


@st.composite
def histograms(draw: st.DrawFn) -> Shown:
    between = draw(st.dictionaries(st.tuples(texts), st.lists(st.integers(0, 9), min_size=3, max_size=3), max_size=3))
    up_to = {
        (*labels, bound): float(sum(each[: place + 1]))
        for labels, each in between.items()
        for place, bound in enumerate(("0.5", "1"))
    }
    return Shown(
        "h_seconds",
        "histogram",
        draw(words),
        ("a",),
        {labels: float(sum(each)) for labels, each in between.items()},
        bounds=("0.5", "1"),
        up_to=up_to,
        sums={labels: draw(counts) for labels in between if draw(st.booleans())},
    )


@st.composite
def families(draw: st.DrawFn) -> list[Shown]:
    return [
        Shown("c_total", "counter", draw(words), ("b", "a"), draw(values(counts, 2))),
        Shown("alone_total", "counter", draw(words), (), {(): draw(counts)}),
        Shown("g", "gauge", draw(words), ("a",), draw(values(numbers, 1))),
        draw(histograms()),
    ]


def read(found: Iterable[Metric]) -> list[tuple]:
    """Everything that was read, instants of creation aside; what is no number is one word."""
    return [
        (
            metric.name,
            metric.type,
            metric.documentation,
            sample.name,
            tuple(sorted(sample.labels.items())),
            said(sample),
        )
        for metric in found
        for sample in metric.samples
    ]


def said(sample: object) -> object:
    value = sample.value  # type: ignore[attr-defined]
    return "nan" if math.isnan(value) else value


@given(families())
def test_prometheus_reads_the_same(shown: list[Shown]):
    ours = Renderer().text(shown).decode()
    theirs = generate_latest(registry(shown)).decode()
    assert read(plain(ours)) == read(plain(theirs))


@given(families())
def test_openmetrics_is_read_the_same(shown: list[Shown]):
    ours = Renderer().text(shown, openmetrics=True).decode()
    theirs = generate_openmetrics(registry(shown)).decode()
    assert read(openmetrics(ours)) == read(openmetrics(theirs))
    assert ours.endswith("# EOF\n")


@given(families(), families())
def test_what_is_remembered_changes_nothing(first: list[Shown], second: list[Shown]):
    remembering = Renderer()
    remembering.text(first)
    assert remembering.text(second) == Renderer().text(second)
    for _ in range(3):  # the same again is not written again
        assert remembering.text(first) == Renderer().text(first)


def test_other_series_in_another_order_are_told_as_they_are():
    remembering = Renderer()
    for values in ({("a",): 1.0, ("b",): 2.0}, {("b",): 3.0, ("a",): 1.0}, {("c",): 4.0, ("b",): 3.0}, {}):
        shown = [Shown("g", "gauge", "As it is.", ("l",), values)]
        assert sorted(read(plain(remembering.text(shown).decode()))) == sorted(
            read(plain(Renderer().text(shown).decode()))
        )


def test_an_exemplar_stands_behind_its_bucket_in_openmetrics_only():
    told = Exemplar((("run_id", 'a "run"'),), 0.7, 1_795_176_001.25)
    up_to = {("x", "0.5"): 1.0, ("x", "1"): 2.0}
    shown = Shown("h", "histogram", "How long.", ("a",), {("x",): 3.0}, ("0.5", "1"), up_to, {("x",): 9.0})
    remembering, with_one = Renderer(), replace(shown, exemplars={("x", "1"): told})
    for _ in range(2):
        (family,) = openmetrics(remembering.text([with_one], openmetrics=True).decode())
        found = {sample.labels["le"]: sample.exemplar for sample in family.samples if sample.exemplar}
        assert {bound: (each.labels, each.value, float(each.timestamp)) for bound, each in found.items()} == {
            "1": ({"run_id": 'a "run"'}, told.value, told.at)
        }
    assert remembering.text([with_one]) == Renderer().text([shown])
    assert remembering.text([shown], openmetrics=True) == Renderer().text([shown], openmetrics=True)


def test_what_a_tap_says_is_passed_on_in_both_formats():
    board = Board(1)
    board.line(0).show({("dify_metric_tap_requests_total", ""): 3.0})
    text, open_text = (Renderer().text([], openmetrics=openly, others=board.text()) for openly in (False, True))

    assert text.decode() == board.text()
    assert read(openmetrics(open_text.decode())) == read(plain(text.decode()))
    assert b"# TYPE dify_metric_tap_requests counter\n" in open_text

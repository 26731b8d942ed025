"""Who pays: one payer at every instant, whichever way it is asked."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import SettingsError
from collector.payers import Entry, Payer, Payers, PayerSpan
from collector.records import CONSOLE, User
from tests.builders import NOON, an_app

JAN, FEB, MAR, APR = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3, 4))
DAY = timedelta(days=1)


def an_entry(
    department: str, *, line: int = 1, start: datetime | None = None, end: datetime | None = None, **subject: str
) -> Entry:
    """An entry about session id ann unless another subject is named."""
    ((kind, value),) = (subject or {"session_id": "ann"}).items()
    return Entry(
        subject=kind, value=value, payer=Payer(department=department), start=start, end=end, place=f"line {line}"
    )


def a_user(**fields: object) -> User:
    """End user u1, whose callers say ann."""
    default = {"source": CONSOLE, "seen_at": NOON, "id": "u1", "kind": "end_user", "session_id": "ann"}
    return User(**(default | fields))


def pays(payers: Payers, at: datetime = NOON, **known: str) -> str | None:
    payer = payers.find(at=at, **(known or {"session_id": "ann"}))
    return payer.department if payer else None


def test_nobody_is_named() -> None:
    assert pays(Payers()) is None
    assert pays(Payers([an_entry("Sales")]), session_id="bob") is None
    assert pays(Payers([an_entry("Sales")]), session_id="Ann") is None


def test_dates_are_half_open() -> None:
    payers = Payers([an_entry("Sales", start=JAN, end=FEB)])

    assert [pays(payers, at) for at in (JAN - DAY, JAN, FEB - DAY, FEB)] == [None, "Sales", "Sales", None]


def test_the_exact_entry_comes_before_a_pattern_wherever_it_stands() -> None:
    assert pays(Payers([an_entry("Staff", session_id="a*"), an_entry("Sales")])) == "Sales"


def test_of_patterns_the_first_in_the_file_counts() -> None:
    payers = Payers([an_entry("A", session_id="a*"), an_entry("Rest", session_id="*", start=JAN)])

    assert pays(payers) == "A"
    assert pays(payers, session_id="bob") == "Rest"


def test_a_pattern_steps_in_where_the_exact_entry_has_ended() -> None:
    payers = Payers([an_entry("Sales", end=FEB), an_entry("Staff", session_id="a?n")])

    assert (pays(payers, JAN), pays(payers, FEB)) == ("Sales", "Staff")


def test_a_star_in_brackets_is_a_star() -> None:
    payers = Payers([an_entry("Bots", session_id="[*]bot")])

    assert pays(payers, session_id="*bot") == "Bots"
    assert pays(payers, session_id="a bot") is None


def test_the_closest_subject_counts() -> None:
    subjects = ("user_id", "session_id", "email", "name", "key", "app", "workspace")
    payers = Payers([an_entry(subject, **{subject: "x"}) for subject in reversed(subjects)])

    for place in range(len(subjects)):
        assert pays(payers, **dict.fromkeys(subjects[place:], "x")) == subjects[place]


def test_a_pattern_on_the_user_comes_before_the_exact_app() -> None:
    payers = Payers([an_entry("Legal", app="contracts"), an_entry("Staff", session_id="*")])

    assert pays(payers, session_id="ann", app="contracts") == "Staff"


def test_an_address_is_found_in_any_case_and_as_session_id() -> None:
    payers = Payers([an_entry("Sales", email="Ann@Example.com"), an_entry("Guests", email="*@PARTNER.example")])

    assert pays(payers, email="ann@example.COM") == "Sales"
    assert pays(payers, session_id="ANN@example.com") == "Sales"
    assert pays(payers, session_id="li.na@partner.example") == "Guests"


def test_an_app_is_found_by_id_or_name() -> None:
    payers = Payers([an_entry("Legal", app="Shop")])

    assert pays(payers, app="4711", app_name="Shop") == pays(payers, app="Shop") == "Legal"


def test_one_who_moves_needs_one_more_entry() -> None:
    payers = Payers([an_entry("Research", line=1), an_entry("Sales", line=2, start=FEB)])

    assert (pays(payers, FEB - DAY), pays(payers, FEB)) == ("Research", "Sales")


def test_one_lent_out_comes_back() -> None:
    payers = Payers([an_entry("Research", start=JAN), an_entry("Sales", line=2, start=FEB, end=MAR)])

    assert [pays(payers, at) for at in (JAN, FEB, MAR)] == ["Research", "Sales", "Research"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((None, None), (None, None)),
        ((JAN, None), (JAN, None)),
        ((JAN, MAR), (FEB, APR)),
        ((JAN, MAR), (FEB, None)),
        ((JAN, APR), (FEB, MAR)),
        ((None, FEB), (JAN, None)),
    ],
)
def test_a_contradiction_names_both_lines(
    one: tuple[datetime | None, datetime | None], other: tuple[datetime | None, datetime | None]
) -> None:
    entries = [an_entry("A", line=3, start=one[0], end=one[1]), an_entry("B", line=9, start=other[0], end=other[1])]

    for ordered in (entries, entries[::-1]):
        with pytest.raises(SettingsError, match=r"line [39] and line [39] both say who pays for session_id 'ann'"):
            Payers(ordered)


def test_spans_are_what_find_says() -> None:
    payers = Payers(
        [
            an_entry("Research", line=1, start=JAN),
            an_entry("Sales", line=2, start=FEB, end=MAR),
            an_entry("Staff", line=3, session_id="*", end=APR),
        ]
    )

    assert [(span.start, span.end, span.department, span.place) for span in payers.resolve([a_user()])] == [
        (None, JAN, "Staff", "line 3"),
        (JAN, FEB, "Research", "line 1"),
        (FEB, MAR, "Sales", "line 2"),
        (MAR, None, "Research", "line 1"),
    ]


def test_every_kind_of_subject_has_its_spans() -> None:
    payers = Payers(
        [
            an_entry("Sales"),
            an_entry("Batch", key="0123456789abcdef"),
            an_entry("Legal", app="Shop"),
            an_entry("IT", workspace="w1"),
        ]
    )

    spans = payers.resolve(
        [a_user(), a_user(id="u2", session_id="bob"), a_user()],
        apps=[an_app()],
        keys=["0123456789abcdef", "fedcba9876543210"],
        workspaces=["w1"],
    )

    assert [(span.kind, span.value, span.department) for span in spans] == [
        ("user", "u1", "Sales"),
        ("key", "0123456789abcdef", "Batch"),
        ("app", "shop", "Legal"),
        ("workspace", "w1", "IT"),
    ]


def test_users_without_an_entry_are_listed_even_where_their_workspace_pays() -> None:
    payers = Payers([an_entry("Sales", end=FEB), an_entry("IT", workspace="w1")])
    ann, bob = a_user(workspace_id="w1"), a_user(id="u2", session_id="bob", workspace_id="w1")

    assert payers.unmapped([ann, bob], JAN) == [bob]
    assert payers.unmapped([ann, bob], FEB) == [ann, bob]


def test_an_account_is_found_by_its_name() -> None:
    payers = Payers([an_entry("IT", name="Zhang Wei")])

    assert payers.unmapped([a_user(kind="account", session_id=None, name="Zhang Wei")], NOON) == []


instants = st.integers(0, 12).map(lambda day: JAN + day * DAY)
bounds = st.tuples(st.none() | instants, st.none() | instants).filter(
    lambda b: b[0] is None or b[1] is None or b[0] < b[1]
)
subjects = st.sampled_from(
    [("session_id", "ann"), ("user_id", "u1"), ("session_id", "a*"), ("session_id", "*"), ("session_id", "bob")]
)
files = st.lists(st.tuples(subjects, bounds), max_size=7)


def entries_of(written: Iterable[tuple[tuple[str, str], tuple[datetime | None, datetime | None]]]) -> list[Entry]:
    return [
        an_entry(f"D{line}", line=line, start=start, end=end, **{kind: value})
        for line, ((kind, value), (start, end)) in enumerate(written, 1)
    ]


def without_contradictions(entries: list[Entry]) -> list[Entry]:
    kept: list[Entry] = []
    for entry in entries:
        try:
            Payers([*kept, entry])
        except SettingsError:
            continue
        kept.append(entry)
    return kept


def covering(spans: list[PayerSpan], at: datetime) -> list[PayerSpan]:
    return [s for s in spans if (s.start is None or s.start <= at) and (s.end is None or at < s.end)]


@given(files, instants)
def test_every_instant_has_at_most_one_payer_and_rows_agree_with_find(written: list, at: datetime) -> None:
    payers = Payers(without_contradictions(entries_of(written)))

    found = payers.find(at=at, user_id="u1", session_id="ann")
    spans = covering(payers.resolve([a_user()]), at)

    assert len(spans) <= 1
    assert [span.department for span in spans] == ([found.department] if found else [])


@given(files, instants)
def test_the_one_who_pays_is_never_less_specific_than_another_who_could(written: list, at: datetime) -> None:
    entries = without_contradictions(entries_of(written))
    found = Payers(entries).find(at=at, user_id="u1", session_id="ann")
    fitting = [entry for entry in entries if entry.value in ("ann", "u1", "a*", "*") and entry.covers(at)]

    if not fitting:
        assert found is None
        return
    (winner,) = [entry for entry in entries if entry.payer == found]
    exact = [entry for entry in fitting if entry.value in ("ann", "u1")]
    if any(entry.subject == "user_id" for entry in fitting):
        assert winner.subject == "user_id"
    elif exact:
        assert winner in exact
    else:
        first = next(entry.value for entry in entries if entry.value in {entry.value for entry in fitting})
        assert winner.value == first
    same = [entry for entry in fitting if (entry.subject, entry.value) == (winner.subject, winner.value)]
    assert all(
        (entry.start or datetime.min.replace(tzinfo=UTC)) <= (winner.start or datetime.min.replace(tzinfo=UTC))
        for entry in same
    )
    assert winner.end is not None or all(entry.end is None for entry in same)


@given(files, instants, st.randoms(use_true_random=False))
def test_the_order_of_exact_entries_means_nothing(written: list, at: datetime, shuffled: random.Random) -> None:
    exact = [entry for entry in without_contradictions(entries_of(written)) if "*" not in entry.value]
    other = list(exact)
    shuffled.shuffle(other)

    known = {"user_id": "u1", "session_id": "ann"}
    assert Payers(exact).find(at=at, **known) == Payers(other).find(at=at, **known)


@given(files)
def test_entries_that_are_accepted_leave_no_instant_to_chance(written: list) -> None:
    """No two entries with the same subject cover an instant unless one of them is open-ended and starts no later."""
    kept = without_contradictions(entries_of(written))
    for one in kept:
        for other in kept:
            if one is other or (one.subject, one.value) != (other.subject, other.value):
                continue
            for day in range(-1, 14):
                at = JAN + day * DAY
                if one.covers(at) and other.covers(at):
                    assert one.end is None or other.end is None
                    assert (one.start, one.end) != (other.start, other.end)

"""Who pays: entries that map users, keys, apps and workspaces to a person, a department and a cost centre.

What comes in are the entries of a file (see `collector.payer_file`); what goes out is the payer of a user at an
instant, the same as rows with start and end for a join, and those nobody pays for. Entries that contradict each other
are refused before anything is answered. Nothing here reads a file or a clock.

A subject with `*`, `?` or `[` is a pattern (`[*]` is a star itself). Which entry counts when several fit:

1. the closest subject: user_id, session_id, email, name, then key, then app, then workspace;
2. the exact one before a pattern; of patterns the one whose subject stands first in the file;
3. of entries with the same subject the one that starts later, or that has an end where the other has none. Two that
   start together, or overlap although the earlier one has its end written down, contradict each other.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations, groupby, pairwise
from operator import itemgetter
from typing import TypeAlias

import msgspec

from collector.errors import SettingsError
from collector.records import App, User

SUBJECTS = ("user_id", "session_id", "email", "name", "key", "app", "workspace")
"""What an entry can be about, the closest to the person first."""

Known: TypeAlias = Mapping[str, Sequence[str | None]]

_EARLIEST = datetime.min.replace(tzinfo=UTC)


class Payer(msgspec.Struct, frozen=True, kw_only=True):
    """Who pays. What the file does not say is None."""

    person: str | None = None
    department: str | None = None
    cost_centre: str | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the file: this subject has this payer within [start, end)."""

    subject: str  # one of SUBJECTS
    value: str  # a text, or a pattern of one
    payer: Payer
    start: datetime | None = None  # UTC; None: since ever
    end: datetime | None = None  # UTC; None: for ever
    place: str  # where it stands: "line 12"

    @property
    def text(self) -> str:
        """The value as it is compared: e-mail addresses in small letters."""
        return _comparable(self.subject, self.value)

    def covers(self, at: datetime) -> bool:
        """Whether it holds at `at`."""
        return (self.start is None or self.start <= at) and (self.end is None or at < self.end)


class PayerSpan(msgspec.Struct, frozen=True, kw_only=True):
    """One subject's payer within [start, end). The spans of one subject do not overlap.

    To join: LEFT JOIN on kind and value, with the fact's `created_at` within the span; of several kinds take the first
    that is not null: user, key, app, workspace.
    """

    kind: str  # user, key, app, workspace
    value: str  # user id, key fingerprint, app id, workspace id
    start: datetime | None  # UTC; None: since ever
    end: datetime | None  # UTC; None: for ever
    person: str | None
    department: str | None
    cost_centre: str | None
    place: str  # of the entry that says so


class Payers:
    """The entries, ready to answer. Raises SettingsError naming every pair that contradicts each other."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._exact: dict[tuple[str, str], list[Entry]] = {}
        self._patterns: dict[tuple[str, str], tuple[re.Pattern[str], list[Entry]]] = {}
        for entry in entries:
            self._add(entry)
        groups = [*self._exact.values(), *(group for _, group in self._patterns.values())]
        mistakes = [mistake for group in groups for mistake in _contradictions(group)]
        if mistakes:
            raise SettingsError("payers: " + "; ".join(mistakes))
        for group in groups:
            group.sort(key=lambda entry: (entry.start or _EARLIEST, entry.end is not None), reverse=True)

    def __len__(self) -> int:
        """How many entries there are."""
        groups = [*self._exact.values(), *(group for _, group in self._patterns.values())]
        return sum(len(group) for group in groups)

    def find(
        self,
        *,
        at: datetime,
        user_id: str | None = None,
        session_id: str | None = None,
        email: str | None = None,
        name: str | None = None,
        key: str | None = None,
        app: str | None = None,
        app_name: str | None = None,
        workspace: str | None = None,
    ) -> Payer | None:
        """Who pays at `at` for what is known by these; None: nobody is named.

        key: the fingerprint, as in `Request.key_fingerprint`; app, workspace: ids.
        """
        known = _known(user_id, session_id, email, name) | {
            "key": (key,),
            "app": (app, app_name),
            "workspace": (workspace,),
        }
        entry = _winner(self._groups(known), at)
        return entry.payer if entry else None

    def resolve(
        self,
        users: Iterable[User] = (),
        *,
        apps: Iterable[App] = (),
        keys: Iterable[str] = (),
        workspaces: Iterable[str] = (),
    ) -> list[PayerSpan]:
        """The same as rows: the spans of every subject, oldest first; none for a subject without a payer."""
        asked: dict[tuple[str, str], Known] = {("user", user.id): _known_of(user) for user in users}
        asked |= {("key", key): {"key": (key,)} for key in keys}
        asked |= {("app", app.id): {"app": (app.id, app.name)} for app in apps}
        asked |= {("workspace", workspace): {"workspace": (workspace,)} for workspace in workspaces}
        return [span for (kind, value), known in asked.items() for span in self._spans(kind, value, known)]

    def unmapped(self, users: Iterable[User], at: datetime) -> list[User]:
        """The users without an entry of their own at `at`; what an app or a workspace pays for them does not count."""
        return [user for user in users if _winner(self._groups(_known_of(user)), at) is None]

    def _add(self, entry: Entry) -> None:
        named = (entry.subject, entry.text)
        if not is_pattern(entry.value):
            self._exact.setdefault(named, []).append(entry)
        elif named in self._patterns:
            self._patterns[named][1].append(entry)
        else:
            self._patterns[named] = (re.compile(fnmatch.translate(entry.text)), [entry])

    def _groups(self, known: Known) -> Iterator[list[Entry]]:
        """The entries that fit, the best first; each group has one subject, and its winner at any instant first."""
        for subject in SUBJECTS:
            texts = [_comparable(subject, value) for value in known.get(subject, ()) if value]
            yield from (self._exact[subject, text] for text in texts if (subject, text) in self._exact)
            for (about, _), (pattern, group) in self._patterns.items():
                if about == subject and any(pattern.match(text) for text in texts):
                    yield group

    def _spans(self, kind: str, value: str, known: Known) -> Iterator[PayerSpan]:
        groups = list(self._groups(known))
        bounds = {bound for group in groups for entry in group for bound in (entry.start, entry.end) if bound}
        pieces = [  # nothing changes within one
            (start, end, _winner(groups, _within(start, end))) for start, end in pairwise([None, *sorted(bounds), None])
        ]
        for entry, same in groupby(pieces, key=itemgetter(2)):
            if entry is not None:
                run = list(same)
                yield _span(kind, value, run[0][0], run[-1][1], entry)


def _winner(groups: Iterable[list[Entry]], at: datetime) -> Entry | None:
    return next((entry for group in groups for entry in group if entry.covers(at)), None)


def is_pattern(value: str) -> bool:
    """Whether a value stands for many."""
    return any(sign in value for sign in "*?[")


def _contradictions(group: Sequence[Entry]) -> Iterator[str]:
    ordered = sorted(group, key=lambda entry: (entry.start or _EARLIEST, entry.end is not None))
    for earlier, later in combinations(ordered, 2):
        if earlier.end is not None and later.start is not None and earlier.end <= later.start:
            continue
        start_together = earlier.start == later.start and later.end is None
        if earlier.end is not None or start_together:
            first, second = sorted((earlier, later), key=group.index)
            yield (
                f"{first.place} and {second.place} both say who pays for {first.subject} {first.value!r} at the same "
                "time; give one of them an end (until), or remove it"
            )


def _span(kind: str, value: str, start: datetime | None, end: datetime | None, entry: Entry) -> PayerSpan:
    return PayerSpan(
        kind=kind, value=value, start=start, end=end, place=entry.place, **msgspec.structs.asdict(entry.payer)
    )


def _within(start: datetime | None, end: datetime | None) -> datetime:
    if start is not None:
        return start
    return end - timedelta(microseconds=1) if end is not None else _EARLIEST


def _comparable(subject: str, value: str) -> str:
    return value.casefold() if subject == "email" else value


def _known_of(user: User) -> Known:
    return _known(user.id, user.session_id, None, user.name)


def _known(
    user_id: str | None, session_id: str | None, email: str | None, name: str | None
) -> dict[str, Sequence[str | None]]:
    """Many callers of Dify send the address of the user as its session id."""
    sent = session_id if session_id and "@" in session_id else None
    return {"user_id": (user_id,), "session_id": (session_id,), "email": (email, sent), "name": (name,)}

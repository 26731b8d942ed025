"""What there is of one kind, a line each: settings, passes, keys, users."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from collector.settings import Setting
from collector.terminal.tables import BLANK, show_lines, stdout_width
from collector.terminal.words import say

ROOM_FOR_HELP = 140
"""Columns a terminal needs to show what every setting is for."""


def show_settings(settings: Iterable[Setting]) -> None:
    """What is in force, and who said so; what each is for where there is room."""
    heads = ("setting", "value", "from", "what it is")
    shown = heads if stdout_width() >= ROOM_FOR_HELP else heads[:-1]
    show_lines(shown, [(s.name, s.value or BLANK, s.source, s.help)[: len(shown)] for s in settings])


def show_pulls(pulls: Iterable[Mapping[str, Any]]) -> None:
    """How the passes went, one line per stream, failures apart."""
    merged: dict[tuple[str, str], list[int]] = {}
    for pull in pulls:
        line = merged.setdefault((pull["stream"], pull["error_class"] or ""), [0, 0, 0])
        for place, number in enumerate((1, pull["records"], pull["parse_failures"])):
            line[place] += number
    lines = [(stream, *(f"{number:,}" for number in numbers), error) for (stream, error), numbers in merged.items()]
    show_lines(("stream", "apps", "records", "set aside", "error"), lines, numbers=("apps", "records", "set aside"))


def show_token(made: Mapping[str, Any]) -> None:
    """The token of a new key alone, so that it can go into a file; what it is for beside it."""
    sys.stdout.write(f"{made['token']}\n")
    say(f"key {made['id']} ({made['name']}): {_may(made)}; this is the only time its token is shown")


def show_keys(keys: Sequence[Mapping[str, Any]]) -> None:
    """One line for each key."""
    heads = ("id", "name", "may", "state", "made", "ends", "last used")
    lines = [
        (
            *(each["id"], each["name"], _may(each), each["state"]),
            *((each[name] or BLANK)[:16].replace("T", " ") for name in ("created_at", "expires_at", "last_used_at")),
        )
        for each in keys
    ]
    show_lines(heads, lines)


def _may(key: Mapping[str, Any]) -> str:
    bounds = {"apps": "app", "workspaces": "workspace", "origins": "Dify"}
    only = [f"{word} {', '.join(key[name])}" for name, word in bounds.items() if key[name]]
    return ", ".join(key["scopes"]) + (f" of {' and '.join(only)}" if only else "")


def show_payers(found: Mapping[str, Any]) -> None:
    """The users nobody pays for, those who ask most first."""
    lines = [
        (each["session_id"] or each["name"] or "", each["kind"], each["id"], f"{each['requests']:,}")
        for each in found["unmapped"]
    ]
    if lines:
        show_lines(("user", "kind", "id", "requests"), lines, numbers=("requests",))
    say(f"{found['file']}: {found['entries']:,} entries; {len(lines):,} of {found['users']:,} users have none")

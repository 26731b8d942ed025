"""Words to stderr, data to stdout, and an instant as people read it."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
from rich.console import Console

from collector.errors import SettingsError


def say(words: str) -> None:
    """One line for the person who typed the command."""
    Console(file=sys.stderr, highlight=False, soft_wrap=True).print(words, markup=False)


def show_json(value: object) -> None:
    """One JSON document."""
    encoded = msgspec.json.format(msgspec.json.encode(value), indent=2 if sys.stdout.isatty() else 0)
    sys.stdout.write(encoded.decode() + "\n")


def write(content: bytes, path: Path | None) -> None:
    """Bytes into a file, or to stdout; never onto a terminal that cannot show them."""
    if path is not None:
        path.write_bytes(content)
        say(f"wrote {path}")
        return
    if sys.stdout.isatty() and b"\0" in content:
        raise SettingsError("--format: a terminal cannot show it; name a file with --output, or redirect it")
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def minute(instant: str, zone: ZoneInfo) -> str:
    return datetime.fromisoformat(instant).astimezone(zone).strftime("%Y-%m-%d %H:%M")

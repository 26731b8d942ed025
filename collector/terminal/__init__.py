"""What commands show: tables of answers, settings and pulls, and a progress bar; data to stdout, words to stderr.

What comes in are plain values as REST would send them; what goes out is text that fits the terminal, or as wide as it
likes where it goes into a file or a pipe. Nothing here asks or decides anything.
"""

from __future__ import annotations

from collector.terminal.answers import show_answer
from collector.terminal.bars import Lines, progress
from collector.terminal.differences import show_proof, show_reconciliation
from collector.terminal.lists import show_keys, show_payers, show_pulls, show_settings, show_token
from collector.terminal.tables import BLANK, Column, show_lines
from collector.terminal.words import say, show_json, write

__all__ = [
    "BLANK",
    "Column",
    "Lines",
    "progress",
    "say",
    "show_answer",
    "show_json",
    "show_keys",
    "show_lines",
    "show_payers",
    "show_proof",
    "show_pulls",
    "show_reconciliation",
    "show_settings",
    "show_token",
    "write",
]

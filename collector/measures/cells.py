"""Cells of CSV: plain values, and no name that a spreadsheet would run as a formula. Nothing here writes a file."""

from __future__ import annotations

from collector.measures.answer import plain

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def cell(value: object) -> object:
    """A cell. A name that a spreadsheet would run as a formula gets the apostrophe that stops it."""
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return plain(value)

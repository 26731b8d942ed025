"""Files of a report read back as a person would: tables by their headings, figures by their names."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import openpyxl

VOID = frozenset({"meta", "link", "br", "path", "rect", "circle", "polyline", "img", "input", "hr"})


@dataclass
class Page(HTMLParser):
    """A page: its tables as rows of texts, the head among them; its figures; every tag and attribute it has."""

    html: str
    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    figures: list[tuple[str, str, str]] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[tuple[str, str]] = []
        self._heading, self._cell, self._figure = "", "", ["", "", ""]
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.tags.append((tag, told))
        if tag not in VOID:
            self._open.append((tag, told.get("class") or ""))
        if tag == "h3":
            self._heading = ""
        elif tag == "tr":
            self.tables.setdefault(self._heading, []).append([])
        elif tag in ("td", "th"):
            self._cell = ""
        elif told.get("class") == "figure":
            self._figure = ["", "", ""]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        opened = self._open.pop() if self._open else ("", "")
        assert opened[0] == tag, f"<{opened[0]}> is ended by </{tag}>"
        if tag in ("td", "th"):
            self.tables[self._heading][-1].append(self._cell.strip())
        elif opened == ("div", "figure"):
            name, value, than = (each.strip() for each in self._figure)
            self.figures.append((name, value, than))

    def handle_data(self, told: str) -> None:
        here = self._open[-1][0] if self._open else ""
        if here == "style":
            return
        self.text += told
        if any(tag == "sup" for tag, _ in self._open):
            return
        if here == "h3":
            self._heading += told
        self._cell += told
        for place, name in enumerate(("name", "value", "than")):
            if any(kind.split()[:1] == [name] for _, kind in self._open):
                self._figure[place] += told


def sheets(content: bytes) -> dict[str, list[tuple[Any, ...]]]:
    """Sheet -> its rows, as a spreadsheet program reads them; formulas would begin with =."""
    book = openpyxl.load_workbook(io.BytesIO(content))
    return {sheet.title: [tuple(row) for row in sheet.iter_rows()] for sheet in book.worksheets}


def listed(rows: list[tuple[Any, ...]], title: str) -> list[dict[str, Any]]:
    """The rows of the table below a title, by their heads."""
    values = [[cell.value for cell in row] for row in rows]
    start = next(place for place, row in enumerate(values) if row[0] == title)
    heads = [head for head in values[start + 1] if head is not None]
    found = []
    for row in values[start + 2 :]:
        if row[1] is None:
            break
        found.append(dict(zip(heads, row, strict=False)))
    return found


def bundled(content: bytes) -> dict[str, list[dict[str, str]]]:
    """File -> its rows by their heads. Each file must begin with a byte order mark."""
    found = {}
    with zipfile.ZipFile(io.BytesIO(content)) as files:
        for name in files.namelist():
            told = files.read(name)
            assert told.startswith(b"\xef\xbb\xbf"), name
            found[name] = list(csv.DictReader(io.StringIO(told.decode("utf-8-sig"))))
    return found

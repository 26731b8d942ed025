"""The payers' file -> Payers. Kept by people, so every mistake is named with its line and its remedy, all at once.

What comes in is the path of a TOML or CSV file, or its text; what goes out are `Payers`. Opens nothing but that file.

TOML: `timezone = "Asia/Shanghai"` (default UTC), then one `[[payer]]` per entry with exactly one subject (SUBJECTS), at
least one of `person`, `department`, `cost_centre`, and optionally `from` and `until` (not included). A date is its
midnight in the time zone.

CSV: UTF-8, with or without a byte order mark. The first row names the columns, in English or Chinese (COLUMNS); one
subject per row, the others empty. Lines with # may stand before it, one of them `# timezone: Asia/Shanghai`.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeAlias
from zoneinfo import ZoneInfo

from collector.errors import QueryError, SettingsError
from collector.payers import SUBJECTS, Entry, Payer, Payers, is_pattern
from collector.period import zone

COLUMNS = {
    "user_id": ("用户id",),
    "session_id": ("user", "用户", "用户标识"),
    "email": ("e_mail", "邮箱", "电子邮箱"),
    "name": ("account", "账号", "帐号", "账户"),
    "key": ("key_fingerprint", "密钥指纹"),
    "app": ("应用", "智能体"),
    "workspace": ("工作空间", "工作区"),
    "person": ("人员", "姓名"),
    "department": ("部门",),
    "cost_centre": ("cost_center", "成本中心"),
    "from": ("生效日期", "开始日期"),
    "until": ("失效日期",),
    "note": ("备注", "说明"),
}
"""Every column with its other spellings; `note` is for people and read by nobody. 结束日期 is missing on purpose: most
would take it as included."""

Row: TypeAlias = Mapping[str, object]

_WORDS = {spelling: column for column, others in COLUMNS.items() for spelling in (column, *others)}
_PAYER_FIELDS = ("person", "department", "cost_centre")
_TOML_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*payer[ \t]*\]\]", re.MULTILINE)
_CSV_ZONE = re.compile(r"#\s*(?:timezone|时区)\s*[:：=]\s*(\S+?)[\s,]*")
_DAY = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})")
_API_KEY = re.compile(r"(app|dataset)-\w{16,}")
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")
_MOST_MISTAKES = 20


def read_payers(path: Path) -> Payers:
    """The payers in a .toml or .csv file. Raises SettingsError naming the file and every mistake in it."""
    try:
        written = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f'{path}: is not UTF-8; in Excel save it as "CSV UTF-8 (comma delimited)"') from None
    if path.suffix.lower() == ".toml":
        return parse_toml(written, str(path))
    if path.suffix.lower() == ".csv":
        return parse_csv(written, str(path))
    raise SettingsError(f"{path}: wanted a file that ends in .toml or .csv")


def parse_toml(written: str, name: str = "payers.toml") -> Payers:
    """The payers in a TOML text; `name` is what errors call it."""
    try:
        content = tomllib.loads(written)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{name}: is no TOML: {error}") from None
    entries, timezone = content.get("payer", []), content.get("timezone", "UTC")
    unknown = sorted(content.keys() - {"payer", "timezone"})
    if unknown or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        wrong = unknown[0] if unknown else "payer"
        raise SettingsError(f"{name}: {wrong}: wanted a timezone and entries, each under [[payer]]")
    places = [f"line {written.count(chr(10), 0, found.start()) + 1}" for found in _TOML_HEADER.finditer(written)]
    if len(places) != len(entries):  # written as inline tables
        places = [f"entry {number}" for number in range(1, len(entries) + 1)]
    return _payers(name, timezone, zip(places, entries, strict=True))


def parse_csv(written: str, name: str = "payers.csv") -> Payers:
    """The payers in a CSV text; `name` is what errors call it."""
    lines = written.splitlines(keepends=True)
    timezone, skipped = "UTC", 0
    while skipped < len(lines) and lines[skipped].lstrip('"').startswith("#"):
        found = _CSV_ZONE.fullmatch(lines[skipped].strip().strip('"'))
        timezone = found[1] if found else timezone
        skipped += 1
    try:
        rows = list(_csv_rows("".join(lines[skipped:]), skipped))
    except SettingsError as error:
        raise SettingsError(f"{name}: {error}") from None
    return _payers(name, timezone, rows)


def _csv_rows(written: str, skipped: int) -> Iterator[tuple[str, Row]]:
    reader = csv.reader(io.StringIO(written, newline=""), strict=True)
    header: list[str] | None = None
    for place, row in _csv_lines(reader, skipped):
        if not any(cell.strip() for cell in row):
            continue
        if header is None:
            header = _header(row, place)
        elif len(row) > len(header):
            raise SettingsError(
                f"{place}: {len(row)} cells under {len(header)} columns; put text with a comma in quotes"
            )
        else:
            yield place, {column: cell for column, cell in zip(header, row, strict=False) if cell.strip()}


def _csv_lines(reader: Iterator[list[str]], skipped: int) -> Iterator[tuple[str, list[str]]]:
    """Each row with the line it starts at: a cell in quotes may have several lines."""
    while True:
        place = f"line {skipped + reader.line_num + 1}"  # type: ignore[attr-defined]
        try:
            yield place, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise SettingsError(f"{place}: is no CSV: {error}") from None


def _header(row: list[str], place: str) -> list[str]:
    if len(row) == 1 and re.search(r"[;\t]", row[0]):
        raise SettingsError(f"{place}: the columns are divided by something else; wanted commas")
    columns = [_word(cell.strip(), place) for cell in row]
    doubled = next((column for column in columns if columns.count(column) > 1), None)
    if doubled:
        raise SettingsError(f"{place}: two columns mean {doubled}")
    return columns


def _word(written: str, place: str) -> str:
    word = re.sub(r"[ \-]", "_", written.casefold())
    if word in _WORDS:
        return _WORDS[word]
    close = difflib.get_close_matches(word, _WORDS, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(COLUMNS)}"
    raise SettingsError(f"{place}: no {written!r}; {hint}")


def _payers(name: str, timezone: object, rows: Iterable[tuple[str, Row]]) -> Payers:
    try:
        local = zone(timezone if isinstance(timezone, str) else repr(timezone))
    except QueryError as error:
        raise SettingsError(f"{name}: timezone: {error}") from None
    entries, mistakes = [], []
    for place, row in rows:
        try:
            entries.append(_entry(row, place, local))
        except SettingsError as error:
            mistakes.append(str(error))
    if not mistakes:
        try:
            return Payers(entries)
        except SettingsError as error:
            raise SettingsError(f"{name}: {error}") from None
    more = len(mistakes) - _MOST_MISTAKES
    rest = [f"and {more} more"] if more > 0 else []
    raise SettingsError(f"{name}: " + "; ".join(mistakes[:_MOST_MISTAKES] + rest))


def _entry(row: Row, place: str, local: ZoneInfo) -> Entry:
    words = [_word(word, place) for word in row]
    if len(set(words)) < len(words):
        raise SettingsError(f"{place}: two words mean the same: {', '.join(row)}")
    row = dict(zip(words, row.values(), strict=True))
    subjects = [subject for subject in SUBJECTS if subject in row]
    if len(subjects) != 1:
        said = " and ".join(subjects) or "none of them"
        raise SettingsError(f"{place}: wanted one of {', '.join(SUBJECTS)}, got {said}; one entry for each")
    payer = Payer(**{field: _text(row, field, place) for field in _PAYER_FIELDS if field in row})
    if payer == Payer():
        raise SettingsError(f"{place}: nobody pays; wanted at least one of {', '.join(_PAYER_FIELDS)}")
    value = _text(row, subjects[0], place)
    if subjects[0] == "key" or _API_KEY.fullmatch(value):
        _check_fingerprint(value, place)
    start, end = _instant(row, "from", place, local), _instant(row, "until", place, local)
    if start is not None and end is not None and start >= end:
        raise SettingsError(f"{place}: until: wanted later than from; until is not included")
    return Entry(subject=subjects[0], value=value, payer=payer, start=start, end=end, place=place)


def _text(row: Row, field: str, place: str) -> str:
    value = row[field]
    if not isinstance(value, str) or not value.strip():
        raise SettingsError(f"{place}: {field}: wanted text in quotes, got {value!r}")
    return value.strip()


def _check_fingerprint(value: str, place: str) -> None:
    """A key itself must not stand in a file, nor in our words about it."""
    if is_pattern(value) or not _FINGERPRINT.fullmatch(value):
        raise SettingsError(
            f"{place}: key: wanted its fingerprint, never the key itself: the first 16 hex digits of its SHA-256, "
            'such as: printf %s "$KEY" | sha256sum | cut -c1-16'
        )


def _instant(row: Row, field: str, place: str, local: ZoneInfo) -> datetime | None:
    value = row.get(field)
    if value is None:
        return None
    try:
        at = _moment(value)
        at = (at if at.tzinfo else at.replace(tzinfo=local)).astimezone(UTC)
        if not 1970 <= at.year <= 9000:
            raise ValueError
    except (ValueError, OverflowError):
        raise SettingsError(f"{place}: {field}: wanted a date such as 2026-01-31, got {value!s}") from None
    return at


def _moment(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if not isinstance(value, str):
        raise ValueError
    day = _DAY.fullmatch(value.strip())
    if day:
        return datetime(int(day[1]), int(day[2]), int(day[3]))
    return datetime.fromisoformat(value.strip())

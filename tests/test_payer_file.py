"""The payers' file: what people may write, and what they are told when they wrote it wrongly."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import SettingsError
from collector.payer_file import COLUMNS, parse_csv, parse_toml, read_payers
from collector.payers import Payer, Payers
from tests.builders import NOON

EXAMPLE = Path(__file__).parent.parent / "deploy" / "payers.example.toml"


def test_the_example_says_who_pays() -> None:
    payers = read_payers(EXAMPLE)
    june, july = datetime(2026, 6, 30, 15, 59, tzinfo=UTC), datetime(2026, 6, 30, 16, 0, tzinfo=UTC)

    def department(at: datetime = june, **known: str) -> str | None:
        payer = payers.find(at=at, **known)
        return payer.department if payer else None

    assert department(session_id="zhang.wei") == "Research"
    assert department(session_id="zhang.wei", at=july) == "Sales"  # midnight in Shanghai
    assert payers.find(session_id="Li.Na@partner.example", at=june) == Payer(person="李娜", cost_centre="CC-1002")
    assert department(session_id="li.na@partner.example", at=july) is None
    assert department(session_id="rd-4711", key="2c26b46b68ffc68f") == "Research"
    assert department(session_id="batch", key="2c26b46b68ffc68f") == "Finance"
    assert department(session_id="anybody", app="some-id", app_name="Contract Checker") == "Legal"
    assert department(workspace="0fc87a2c-6d47-4a0b-8d1a-4c9f5b1b7b0e") == "IT"
    assert department(session_id="nobody") is None


def test_a_table_from_a_spreadsheet_is_read_with_its_chinese_columns(tmp_path: Path) -> None:
    file = tmp_path / "payers.csv"
    table = (
        "# 时区：Asia/Shanghai,,,,\r\n"
        "用户,姓名,部门,成本中心,生效日期,失效日期,备注\r\n"
        'zhang.wei,张伟,"研发, 一部",CC-1001,2026/1/1,2026/7/1,moves\r\n'
        "\r\n"
        ",,,,,,\r\n"
        "rd-*,,研发,CC-1000\r\n"
    )
    file.write_bytes(table.encode("utf-8-sig"))

    payers = read_payers(file)

    assert payers.find(session_id="zhang.wei", at=datetime(2025, 12, 31, 16, tzinfo=UTC)) == Payer(
        person="张伟", department="研发, 一部", cost_centre="CC-1001"
    )
    assert payers.find(session_id="zhang.wei", at=datetime(2025, 12, 31, 15, tzinfo=UTC)) is None
    assert payers.find(session_id="rd-1", at=NOON) == Payer(department="研发", cost_centre="CC-1000")


EVERY_COLUMN = {
    "session_id,person,department,cost_centre,from,until,note": "ann,Ann,Sales,CC-1,2026-01-01,2027-01-01,x",
    "user_id,department": "u1,Sales",
    "email,department": "ann@example.com,Sales",
    "name,department": "Ann,Sales",
    "key,department": "0123456789abcdef,Sales",
    "app,department": "shop,Sales",
    "workspace,department": "w1,Sales",
}


@pytest.mark.parametrize(
    ("column", "spelling"), [(column, spelling) for column, others in COLUMNS.items() for spelling in others]
)
def test_every_spelling_of_a_column_is_read(column: str, spelling: str) -> None:
    header = next(header for header in EVERY_COLUMN if column in header.split(","))
    row = EVERY_COLUMN[header]
    spelled = ",".join(f" {spelling.upper()} " if name == column else name for name in header.split(","))
    subject = {header.split(",")[0]: row.split(",")[0]}

    english, other = (parse_csv(f"{names}\n{row}\n") for names in (header, spelled))

    for at in (NOON, NOON.replace(year=2025), NOON.replace(year=2027)):
        assert english.find(at=at, **subject) == other.find(at=at, **subject)
    assert other.find(at=NOON, **subject) is not None


def test_a_moment_may_be_as_exact_as_one_likes() -> None:
    toml = """
        timezone = "Europe/Berlin"
        payer = [
            {session_id = "a", department = "D", from = 2026-01-01T12:00:00, until = 2026-01-02T00:00:00-05:00},
        ]
    """
    payers = parse_toml(toml)

    assert payers.find(session_id="a", at=datetime(2026, 1, 1, 10, 59, tzinfo=UTC)) is None
    assert payers.find(session_id="a", at=datetime(2026, 1, 1, 11, 0, tzinfo=UTC)) is not None
    assert payers.find(session_id="a", at=datetime(2026, 1, 2, 4, 59, tzinfo=UTC)) is not None
    assert payers.find(session_id="a", at=datetime(2026, 1, 2, 5, 0, tzinfo=UTC)) is None


@pytest.mark.parametrize("parse", [parse_toml, parse_csv])
def test_an_empty_file_has_nobody_pay(parse: Callable[[str], Payers]) -> None:
    assert parse("").find(session_id="a", at=NOON) is None


ONE = '[[payer]]\nsession_id = "a"\ndepartment = "D"\n'


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("payer = 1", "payer: wanted a timezone and entries"),
        ("zone = 'UTC'", "zone: wanted a timezone and entries"),
        ("timezone = ", "is no TOML: "),
        ("timezone = 'Mars/Base'", "timezone: no time zone 'Mars/Base'; IANA names"),
        ("timezone = 8", "timezone: no time zone '8'"),
        (f"{ONE}\n[[payer]]\ndepartment = 'D'", "line 5: wanted one of user_id, .*, got none of them"),
        (f"{ONE}email = 'a@b'", "line 1: wanted one of .*, got session_id and email"),
        (f"{ONE}user = 'b'", "line 1: two words mean the same: session_id, department, user"),
        ("[[payer]]\nsession_id = 'a'", "line 1: nobody pays; wanted at least one of person, department, cost_centre"),
        ("[[payer]]\nsession_id = 7\nperson = 'P'", "line 1: session_id: wanted text in quotes, got 7"),
        ("[[payer]]\nsession_id = 'a'\nperson = ' '", "line 1: person: wanted text in quotes, got ' '"),
        (f"{ONE}form = 2026-01-01", "line 1: no 'form'; did you mean 'from'"),
        (f"{ONE}xyzzy = 1", "line 1: no 'xyzzy'; there are user_id, session_id"),
        (f"{ONE}from = '31.1.2026'", "line 1: from: wanted a date such as 2026-01-31, got 31.1.2026"),
        (f"{ONE}from = 0001-01-01", "line 1: from: wanted a date"),
        (f"{ONE}from = 2026", "line 1: from: wanted a date"),
        (f"{ONE}from = 2026-07-01\nuntil = 2026-07-01", "line 1: until: wanted later than from; until is not included"),
        (ONE * 2, r"line 1 and line 4 both say who pays for session_id 'a'.*until"),
    ],
)
def test_a_mistake_in_toml_is_named_with_its_line(toml: str, said: str) -> None:
    with pytest.raises(SettingsError, match=rf"^team\.toml: (payers: )?{said}"):
        parse_toml(toml, "team.toml")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("user;department\na;D", "line 1: the columns are divided by something else; wanted commas"),
        ("user,abteilung\na,D", "line 1: no 'abteilung'"),
        ("user,结束日期\na,2026-07-01", "line 1: no '结束日期'"),
        ("user,session_id,department\n", "line 1: two columns mean session_id"),
        ("# timezone: Nowhere\nuser,department\n", "timezone: no time zone 'Nowhere'"),
        ("# ours\nuser,department\na,D,E", "line 3: 3 cells under 2 columns"),
        ("user,department\n\na,", "line 3: nobody pays"),
        ('user,note,department\na,"two\nlines",D\nb,,', "line 4: nobody pays"),
        ('user,department\na,"D', "line 2: is no CSV"),
        ("user,department\na,D\nb,D\na,E", "line 2 and line 4 both say"),
    ],
)
def test_a_mistake_in_a_table_is_named_with_its_line(table: str, said: str) -> None:
    with pytest.raises(SettingsError, match=rf"^team\.csv: (payers: )?{said}"):
        parse_csv(table, "team.csv")


def test_entries_written_inline_are_named_by_their_number() -> None:
    with pytest.raises(SettingsError, match="entry 2: nobody pays"):
        parse_toml('payer = [{user = "a", person = "P"}, {user = "b"}]')


def test_all_mistakes_are_named_at_once_but_not_without_end() -> None:
    with pytest.raises(SettingsError) as refused:
        parse_csv("user,department\n" + "a,\n" * 50)

    assert str(refused.value).count("nobody pays") == 20
    assert str(refused.value).endswith("and 30 more")


@pytest.mark.parametrize("subject", ["key", "app", "session_id"])
def test_a_key_itself_is_refused_and_not_repeated(subject: str) -> None:
    with pytest.raises(SettingsError, match="sha256sum") as refused:
        parse_toml(f'[[payer]]\n{subject} = "app-Zx81QqLmN0pRsTuVwXyZ1234"\ndepartment = "D"')

    assert "Zx81" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("payers.csv", "用户,部门\n张伟,研发".encode("gbk"), "CSV UTF-8"),
        ("payers.xlsx", b"PK", r"\.toml or \.csv"),
        ("payers.toml", None, "No such file"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(SettingsError, match=said):
        read_payers(tmp_path / name)


@given(st.text(alphabet="用户部门user,department\n\"#[]='\r \t2026-;") | st.text())
def test_whatever_stands_in_a_file_is_read_or_refused_in_words(written: str) -> None:
    for parse in (parse_toml, parse_csv):
        with suppress(SettingsError):
            assert isinstance(parse(written), Payers)

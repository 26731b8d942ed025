"""What each command does: Settings and plain arguments in, plain values out. No terminal here.

A command that needs the store opens it itself or, when a service holds it, asks that service. What only some commands
need is imported by these: the web framework alone takes longer to load than a question takes to answer.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from collector.access import Scope
from collector.bill_lines import RatedLine
from collector.billing.book_file import read_book
from collector.checks import checked, number, of_sources
from collector.clock import utc_now
from collector.errors import DifyMetricError, QueryError, SettingsError, ShapeError, StoreBusy, Unavailable
from collector.faces.asking import Asker
from collector.faces.rest_models import Asked
from collector.measures.answer import Answer
from collector.measures.ask import names_in
from collector.measures.catalogue import CATALOGUE
from collector.measures.query import Rows
from collector.payer_file import read_payers
from collector.payers import Payers
from collector.period import Period
from collector.records import Record, Stored
from collector.running import Running, url_of, whereabouts
from collector.settings import Setting, Settings, describe
from collector.store import Store, open_store
from collector.tap.figures import FIGURES

if TYPE_CHECKING:
    from collector.collect.passes import Progress
    from collector.ingest import Reading

Plain: TypeAlias = Mapping[str, Any]
Result = TypeVar("Result")
Parameters = TypeVar("Parameters", bound=BaseModel)


def serve(settings: Settings) -> None:
    """Serve until told to stop."""
    from collector import app

    app.serve(settings)


async def pull(settings: Settings, on_progress: Progress, source: str | None = None) -> Sequence[Plain]:
    """One pass over Dify, here or by the service that holds the store; how each stream went.

    `source` is api or database, for that way in alone.
    """
    way = _way(settings, source)
    from collector import app

    try:
        service = app.Service(settings, on_progress=on_progress)
    except StoreBusy as busy:
        with _holder(settings, busy, Scope.INGEST) as running:
            return running.pull(source)
    try:
        pulls = await service.pull(way)
        service.store.settle_rollups(everything=True)
        return app.told(pulls)
    finally:
        await service.close()


async def back_fill(
    settings: Settings, since: str, only: Sequence[str], on_progress: Progress, source: str | None = None
) -> Sequence[Plain]:
    """Read history back to `since`, here or by the service that holds the store; how each stream went.

    `source` is api or database; None: the database of those that have one.
    """
    from collector import app, sources

    way = _way(settings, source)
    if unknown := sorted(set(only) - set(sources.ALL_STREAMS)):
        raise QueryError(f"no stream {unknown[0]!r}; there are {', '.join(sources.ALL_STREAMS)}", field="only")
    start = Period.parse(since=since, tz=settings.report_timezone, now=utc_now()).start
    try:
        service = app.Service(settings)
    except StoreBusy as busy:
        with _holder(settings, busy, Scope.INGEST) as running:
            return running.back_fill(start, only, source, on_progress)
    try:
        pulls = await service.back_fill(start, frozenset(only) or None, on_progress, way)
        service.store.settle_rollups(everything=True)
        return app.told(pulls)
    finally:
        await service.close()


def _way(settings: Settings, source: str | None) -> str | None:
    """The way in that `--source` names; None: all there are. Raises SettingsError where there is none."""
    from collector.faces import intake

    if source not in (None, *intake.WAYS):
        raise QueryError(f"--source: wanted {' or '.join(intake.WAYS)}, got {source!r}", field="source")
    has_url = any(each.url for each in settings.sources)
    has_database = any(each.database_url for each in settings.sources)
    if source == "database" and not has_database:
        raise SettingsError("no database to read: set database_url, Dify's PostgreSQL (dify-metric check shows it)")
    if not has_url and (source == "api" or not has_database):
        raise SettingsError(
            "no Dify to pull from: set dify_url and a way to sign in, or database_url (dify-metric check shows them)"
        )
    return intake.WAYS[source] if source else None


def ingest(settings: Settings, files: Sequence[Path], hints: Plain, on_progress: Progress) -> Plain:
    """Read files into the store: how many facts were new, changed and known, and what could not be read, by field.

    Every file is read before anything is stored, so that a wrong one stops the command and not half of it.
    """
    from collector import money

    records: list[Record] = []
    failures: Counter[str] = Counter()
    for place, file in enumerate(files):
        on_progress("files", place, len(files))
        found, failed = _read(file, hints)
        records += found
        failures += failed

    def here(store: Store) -> Stored:
        stored = store.put(records)
        money.payers_in(settings, store)
        store.settle_rollups(everything=True)
        return stored

    stored = with_store(settings, here, lambda running: running.put(records), scope=Scope.INGEST)
    return {"new": stored.new, "changed": stored.changed, "known": stored.known, "failures": dict(failures)}


def _read(file: Path, hints: Plain) -> Reading:
    from collector.ingest import read_file

    try:
        return read_file(file, now=utc_now(), **hints)
    except SettingsError as error:
        raise SettingsError(f"{file}: {error}") from None
    except ShapeError as error:
        raise DifyMetricError(f"{file}: {error}") from None


def query(settings: Settings, asked: Plain, at: str | None = None) -> Plain:
    """An answer as REST gives it. `asked` has the parameters of GET /api/v1/query; `at` is a collector's address."""
    return _answered(settings, asked, at, lambda answer, _: answer.plain(), Running.query)


def query_file(settings: Settings, asked: Plain, at: str | None = None) -> bytes:
    """The same as a file, in the format that `asked` names."""
    from collector.faces.formats import Format, written

    return _answered(settings, asked, at, lambda answer, form: written(answer, Format(form)), Running.query_file)


def _answered(
    settings: Settings,
    asked: Plain,
    at: str | None,
    told: Callable[[Answer, str], Result],
    ask: Callable[[Running, Sequence[tuple[str, str]]], Result],
) -> Result:
    given, question = _asked(Asked, asked)
    is_of_bills = any(RatedLine in measure.facts for measure in CATALOGUE.measures(names_in(question.measure)))

    def here(store: Store) -> Result:
        rows = _with_bills(settings, store) if is_of_bills else store.rows
        answer = Asker(rows, utc_now(), settings.report_timezone).answered(question)
        return told(answer, question.format)

    def there(running: Running) -> Result:
        return ask(running, list(_pairs({**given, "tz": question.tz or settings.report_timezone})))

    if at is not None:
        with Running(at if "://" in at else f"http://{at}", token=_token(settings, Scope.READ)) as running:
            return ask(running, list(_pairs(given)))
    return with_store(settings, here, there, read_only=not is_of_bills)


def _with_bills(settings: Settings, store: Store) -> Rows:
    """The rows of a store that was opened for writing, with the lines of bills as they are now."""
    from collector import money

    money.payers_in(settings, store)
    return money.rated_in(money.bills_in(settings, store, utc_now), store, utc_now).rows


def reconcile(settings: Settings, asked: Plain) -> Plain:
    """A reconciliation as REST gives it. `asked` has the parameters of GET /api/v1/reconciliation."""
    from collector.faces import reconciliation

    given, question = _asked(reconciliation.Asked, asked)

    def here(store: Store) -> Plain:
        return reconciliation.reconciled(question, store.rows, utc_now(), timezone=settings.report_timezone)

    return with_store(settings, here, lambda running: running.reconciliation(list(_pairs(given))), read_only=True)


def check_rollups(settings: Settings, *, repair: bool) -> Plain:
    """The steps of rollups that do not say what the facts say; with `repair` they are made anew."""
    from collector.faces import rollups

    def here(store: Store) -> Plain:
        return rollups.proof(store.check_rollups(repair=repair), is_repaired=repair)

    return with_store(
        settings,
        here,
        lambda running: running.check_rollups(repair=repair),
        scope=Scope.ADMIN,
        read_only=not repair,
    )


async def check(settings: Settings) -> Plain:
    """The settings in force and whether store and Dify answer; nothing is changed."""
    checks = [checked("store", lambda: _state_of_store(settings))]
    checks += await of_sources(settings)
    if found := _set_aside(settings):
        checks.append({"check": "set aside", "is_well": True, "result": found})
    if settings.payers:
        checks.append(checked("payers", lambda: number(len(_payers_of(settings)), "entries")))
    if settings.prices:
        checks.append(checked("prices", lambda: number(len(read_book(Path(str(settings.prices))).prices), "prices")))
    names = ("name", "value", "source", "unit", "help")
    table = [{name: getattr(each, name) for name in names} for each in in_force(settings)]
    return {"settings": table, "checks": checks}


def in_force(settings: Settings) -> list[Setting]:
    """Every setting with its value, secrets masked, and who said so."""
    return describe(settings)


def generate(to: Path) -> Iterator[Path]:
    """Write what is made from the catalogue; the paths written."""
    from collector.faces import grafana, reference, rules

    to.mkdir(parents=True, exist_ok=True)
    pages = {name: grafana.written(model) for name, model in grafana.dashboards().items()}
    pages |= rules.files()
    told = [(each.name, "gauge" if each.kind == "oldest" else each.kind, each.label, each.help) for each in FIGURES]
    pages["measures.md"] = reference.reference(describe(Settings()), told)
    for name, text in pages.items():
        path = to / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        yield path


def export_openmetrics(settings: Settings, to: Path, since: str, step: str) -> int:
    """Write what the counters would have said before counting began; how many bytes that is."""
    from collector.faces import history

    def here(store: Store) -> Iterator[bytes]:
        period = history.until(store.counting_since, since, store.rows, utc_now(), settings.report_timezone)
        lines = history.openmetrics(store.rows, period, history.step_of(step))
        return iter([line.encode() for line in lines])

    def there(running: Running) -> Iterator[bytes]:
        return iter([running.history([("since", since), ("step", step)])])

    written = 0
    parts = with_store(settings, here, there)
    with to.open("wb") as file:
        for part in parts:
            written += file.write(part)
    return written


def _asked(kind: type[Parameters], asked: Plain) -> tuple[dict[str, Any], Parameters]:
    """What was given, and what it means. Raises QueryError."""
    given = {name: value for name, value in asked.items() if value not in (None, [], "")}
    try:
        return given, kind(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise QueryError(f"{first['loc'][0]}: {first['msg']}", field=str(first["loc"][0])) from None


def payers(settings: Settings) -> Plain:
    """How far the payers' file reaches: the users it does not name. Raises SettingsError where it is wrong."""
    from collector import money

    _payers_of(settings)

    def here(store: Store) -> Plain:
        return money.payer_report(settings, store.rows, utc_now())

    return with_store(settings, here, lambda running: running.payers(), read_only=True)


def _payers_of(settings: Settings) -> Payers:
    if settings.payers is None:
        raise SettingsError("payers: no file to look into; set it to the path of a .toml or .csv file")
    return read_payers(Path(settings.payers))


def with_store(
    settings: Settings,
    here: Callable[[Store], Result],
    there: Callable[[Running], Result],
    *,
    scope: Scope = Scope.READ,
    read_only: bool = False,
) -> Result:
    """Work on the store: here, or there where a service holds it, by the key of the settings with that scope."""
    try:
        store = open_store(settings.store, read_only=read_only)
    except StoreBusy as busy:
        with _holder(settings, busy, scope) as running:
            return there(running)
    try:
        return here(store)
    finally:
        store.close()


@contextmanager
def _holder(settings: Settings, busy: StoreBusy, scope: Scope) -> Iterator[Running]:
    """The service that holds the store; the error says who does where it is not the one at `listen`."""
    with Running(url_of(settings.listen), token=_token(settings, scope)) as running:
        try:
            running.check(settings.store)
        except Unavailable as error:
            raise StoreBusy(f"{busy}; {error}") from None
        yield running


def _token(settings: Settings, scope: Scope) -> str | None:
    """The key to show for what takes this scope, where the settings have one."""
    return settings.tokens.get(scope) or settings.tokens.get(Scope.ADMIN)


def _pairs(given: Plain) -> Iterator[tuple[str, str]]:
    for name, value in given.items():
        for each in value if isinstance(value, list) else [value]:
            yield name, str(each).lower() if isinstance(each, bool) else str(each)


def _state_of_store(settings: Settings) -> str:
    path = Path(whereabouts(settings.store))
    if not path.exists() and path.parent.is_dir() and os.access(path.parent, os.W_OK):
        return "not there yet; the first facts make it"
    return with_store(settings, lambda store: summary(store.rows), _facts_there, read_only=True)


def _set_aside(settings: Settings) -> str | None:
    """Records that could not be read, in one line; None where there are none, or no store that tells."""
    from collector import health

    try:
        found = with_store(
            settings, lambda store: health.listed(store.rows), lambda running: running.set_aside(), read_only=True
        )
    except DifyMetricError:
        return None  # the check of the store says why
    if not found:
        return None
    streams = Counter(str(each["stream"]) for each in found)
    told = ", ".join(f"{number:,} of {stream}" for stream, number in streams.most_common())
    last = found[0]
    return f"{told} could not be read, lastly {last['stream']} {last['key']}: {last['problem']} (GET /api/v1/set-aside)"


_COUNTED = ("runs", "messages", "model_calls", "tokens")


def summary(rows: Rows) -> str:
    """What a store holds, in one line."""
    asked = Asked(measure=list(_COUNTED), include_debug=True)
    return _counted(Asker(rows, utc_now()).answered(asked).plain())


def _facts_there(running: Running) -> str:
    pairs = [("measure", name) for name in _COUNTED]
    return _counted(running.query([*pairs, ("include_debug", "true")])) + f", held by the service at {running.url}"


def _counted(answer: Plain) -> str:
    row = answer["rows"][0] if answer["rows"] else {}
    return ", ".join(number(row.get(name) or 0, CATALOGUE.measure(name).title.lower()) for name in _COUNTED)

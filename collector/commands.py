"""What each command does: Settings and plain arguments in, plain values out. No terminal here.

A command that needs the store opens it itself or, when a service holds it, asks that service.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from collector import app, sources
from collector.app import Service, utc_now
from collector.collect.collector import STREAM_NAMES
from collector.collect.passes import Progress
from collector.errors import DifyMetricError, QueryError, SettingsError, ShapeError, StoreBusy, Unavailable
from collector.faces import grafana, reconciliation, reference, rest, rollups
from collector.faces.rest_models import Asked
from collector.fields import integer
from collector.ingest import Reading, read_file
from collector.measures.catalogue import CATALOGUE
from collector.measures.query import Rows
from collector.payer_file import read_payers
from collector.payers import Payers
from collector.period import Period
from collector.pull.endpoints import APPS
from collector.records import Record, Stored
from collector.running import Running, url_of, whereabouts
from collector.settings import DifySource, Setting, Settings, describe
from collector.settings.source import UNNAMED
from collector.store import Store, open_store

Plain: TypeAlias = Mapping[str, Any]
Result = TypeVar("Result")
Parameters = TypeVar("Parameters", bound=BaseModel)


def serve(settings: Settings) -> None:
    """Serve until told to stop."""
    app.serve(settings)


async def pull(settings: Settings, on_progress: Progress) -> Sequence[Plain]:
    """One pass over Dify, here or by the service that holds the store; how each stream went."""
    if not any(source.url for source in settings.sources):
        raise SettingsError("no Dify to pull from: set dify_url and a way to sign in (dify-metric check shows them)")
    try:
        service = Service(settings, on_progress=on_progress)
    except StoreBusy as busy:
        with _holder(settings, busy) as running:
            return running.pull()
    try:
        pulls = await service.pull()
        service.store.settle_rollups(everything=True)
        return app.told(pulls)
    finally:
        await service.close()


async def back_fill(settings: Settings, since: str, only: Sequence[str], on_progress: Progress) -> Sequence[Plain]:
    """Read history back to `since`, here or by the service that holds the store; how each stream went."""
    if not any(source.url for source in settings.sources):
        raise SettingsError("no Dify to pull from: set dify_url and a way to sign in (dify-metric check shows them)")
    if unknown := sorted(set(only) - set(STREAM_NAMES)):
        raise QueryError(f"no stream {unknown[0]!r}; there are {', '.join(STREAM_NAMES)}", field="only")
    start = Period.parse(since=since, tz=settings.report_timezone, now=utc_now()).start
    try:
        service = Service(settings)
    except StoreBusy as busy:
        with _holder(settings, busy) as running:
            return running.back_fill(start, only, on_progress)
    try:
        pulls = await service.back_fill(start, frozenset(only) or None, on_progress)
        service.store.settle_rollups(everything=True)
        return app.told(pulls)
    finally:
        await service.close()


def ingest(settings: Settings, files: Sequence[Path], hints: Plain, on_progress: Progress) -> Plain:
    """Read files into the store: how many facts were new, changed and known, and what could not be read, by field.

    Every file is read before anything is stored, so that a wrong one stops the command and not half of it.
    """
    records: list[Record] = []
    failures: Counter[str] = Counter()
    for place, file in enumerate(files):
        on_progress("files", place, len(files))
        found, failed = _read(file, hints)
        records += found
        failures += failed

    def here(store: Store) -> Stored:
        stored = store.put(records)
        app.payers_in(settings, store)
        store.settle_rollups(everything=True)
        return stored

    stored = _with_store(settings, here, lambda running: running.put(records))
    return {"new": stored.new, "changed": stored.changed, "known": stored.known, "failures": dict(failures)}


def _read(file: Path, hints: Plain) -> Reading:
    try:
        return read_file(file, now=utc_now(), **hints)
    except SettingsError as error:
        raise SettingsError(f"{file}: {error}") from None
    except ShapeError as error:
        raise DifyMetricError(f"{file}: {error}") from None


def query(settings: Settings, asked: Plain, at: str | None = None) -> Plain:
    """An answer as REST gives it. `asked` has the parameters of GET /api/v1/query; `at` is a collector's address."""
    given, question = _asked(Asked, asked)

    def here(store: Store) -> Plain:
        return rest.answered(question, store.rows, utc_now(), timezone=settings.report_timezone).plain()

    def there(running: Running) -> Plain:
        return running.query(list(_pairs({**given, "tz": question.tz or settings.report_timezone})))

    if at is not None:
        with Running(at if "://" in at else f"http://{at}") as running:
            return running.query(list(_pairs(given)))
    return _with_store(settings, here, there, read_only=True)


def reconcile(settings: Settings, asked: Plain) -> Plain:
    """A reconciliation as REST gives it. `asked` has the parameters of GET /api/v1/reconciliation."""
    given, question = _asked(reconciliation.Asked, asked)

    def here(store: Store) -> Plain:
        return reconciliation.reconciled(question, store.rows, utc_now(), timezone=settings.report_timezone)

    return _with_store(settings, here, lambda running: running.reconciliation(list(_pairs(given))), read_only=True)


def check_rollups(settings: Settings, *, repair: bool) -> Plain:
    """The steps of rollups that do not say what the facts say; with `repair` they are made anew."""

    def here(store: Store) -> Plain:
        return rollups.proof(store.check_rollups(repair=repair), is_repaired=repair)

    return _with_store(settings, here, lambda running: running.check_rollups(repair=repair), read_only=not repair)


async def check(settings: Settings) -> Plain:
    """The settings in force and whether store and Dify answer; nothing is changed."""
    checks = [_check("store", lambda: _state_of_store(settings))]
    checks += await _check_sources(settings)
    if settings.payers:
        checks.append(_check("payers", lambda: _number(len(_payers_of(settings)), "entries")))
    names = ("name", "value", "source", "unit", "help")
    table = [{name: getattr(each, name) for name in names} for each in in_force(settings)]
    return {"settings": table, "checks": checks}


def in_force(settings: Settings) -> list[Setting]:
    """Every setting with its value, secrets masked, and who said so."""
    return describe(settings)


def generate(to: Path) -> Iterator[Path]:
    """Write what is made from the catalogue; the paths written."""
    to.mkdir(parents=True, exist_ok=True)
    pages = {name: grafana.written(model) for name, model in grafana.dashboards().items()}
    pages["measures.md"] = reference.reference(describe(Settings()))
    for name, text in pages.items():
        path = to / name
        path.write_text(text, encoding="utf-8")
        yield path


def _asked(kind: type[Parameters], asked: Plain) -> tuple[dict[str, Any], Parameters]:
    """What was given, and what it means. Raises QueryError."""
    given = {name: value for name, value in asked.items() if value not in (None, [], "")}
    try:
        return given, kind(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise QueryError(f"{first['loc'][0]}: {first['msg']}", field=str(first["loc"][0])) from None


def backup(settings: Settings, to: Path) -> Plain:
    """Write a consistent copy of the store, here or by the service that holds it: its path and bytes."""
    path = to.absolute()

    def here(store: Store) -> Plain:
        store.backup(path)
        return {"path": str(path), "bytes": path.stat().st_size}

    _must_exist(settings)
    return _with_store(settings, here, lambda running: running.backup(str(path)))


def restore(settings: Settings, source: Path) -> Plain:
    """Make the settings' store from a backup. Raises SettingsError where one is there, StoreError for no backup."""
    target = Path(whereabouts(settings.store))
    if target.exists():
        raise SettingsError(f"store: there is one at {target}; move it away first, a backup never replaces it")
    part = target.with_name(target.name + ".part")
    try:
        shutil.copyfile(source, part)
        open_store(part).close()  # a backup of an older version becomes today's, what is none is refused
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
    return {"path": str(target), "bytes": target.stat().st_size}


def export_parquet(settings: Settings, to: Path) -> Plain:
    """Write every table as a Parquet file, here or by the service that holds the store: where, and rows by table."""
    path = to.absolute()
    _must_exist(settings)
    return _with_store(
        settings,
        lambda store: {"path": str(path), "rows": store.export_parquet(path)},
        lambda running: running.export_parquet(str(path)),
    )


def _must_exist(settings: Settings) -> None:
    if not (path := Path(whereabouts(settings.store))).exists():
        raise SettingsError(f"store: there is none at {path}; nothing to copy")


def payers(settings: Settings) -> Plain:
    """How far the payers' file reaches: the users it does not name. Raises SettingsError where it is wrong."""
    _payers_of(settings)

    def here(store: Store) -> Plain:
        return app.payer_report(settings, store.rows, utc_now())

    return _with_store(settings, here, lambda running: running.payers(), read_only=True)


def _payers_of(settings: Settings) -> Payers:
    if settings.payers is None:
        raise SettingsError("payers: no file to look into; set it to the path of a .toml or .csv file")
    return read_payers(Path(settings.payers))


def _with_store(
    settings: Settings,
    here: Callable[[Store], Result],
    there: Callable[[Running], Result],
    *,
    read_only: bool = False,
) -> Result:
    """Work on the store: here, or there where a service holds it."""
    try:
        store = open_store(settings.store, read_only=read_only)
    except StoreBusy as busy:
        with _holder(settings, busy) as running:
            return there(running)
    try:
        return here(store)
    finally:
        store.close()


@contextmanager
def _holder(settings: Settings, busy: StoreBusy) -> Iterator[Running]:
    """The service that holds the store; the error says who does where it is not the one at `listen`."""
    token = settings.ingest_token.get_secret_value() if settings.ingest_token else None
    with Running(url_of(settings.listen), token=token) as running:
        try:
            running.check(settings.store)
        except Unavailable as error:
            raise StoreBusy(f"{busy}; {error}") from None
        yield running


def _pairs(given: Plain) -> Iterator[tuple[str, str]]:
    for name, value in given.items():
        for each in value if isinstance(value, list) else [value]:
            yield name, str(each).lower() if isinstance(each, bool) else str(each)


def _state_of_store(settings: Settings) -> str:
    path = Path(whereabouts(settings.store))
    if not path.exists() and path.parent.is_dir() and os.access(path.parent, os.W_OK):
        return "not there yet; the first facts make it"
    return _with_store(settings, lambda store: summary(store.rows), _facts_there, read_only=True)


_COUNTED = ("runs", "messages", "model_calls", "tokens")


def summary(rows: Rows) -> str:
    """What a store holds, in one line."""
    asked = Asked(measure=list(_COUNTED), include_debug=True)
    return _counted(rest.answered(asked, rows, utc_now()).plain())


def _facts_there(running: Running) -> str:
    pairs = [("measure", name) for name in _COUNTED]
    return _counted(running.query([*pairs, ("include_debug", "true")])) + f", held by the service at {running.url}"


def _counted(answer: Plain) -> str:
    row = answer["rows"][0] if answer["rows"] else {}
    return ", ".join(_number(row.get(name) or 0, CATALOGUE.measure(name).title.lower()) for name in _COUNTED)


def _number(how_many: int, what: str) -> str:
    return f"{how_many:,} {what.removesuffix('s') if how_many == 1 else what}"


def _check(name: str, look: Callable[[], str]) -> Plain:
    try:
        return {"check": name, "is_well": True, "result": look()}
    except DifyMetricError as error:
        return {"check": name, "is_well": False, "result": str(error)}


async def _check_sources(settings: Settings) -> list[Plain]:
    """Every Dify and every broker, all asked at once."""
    given = settings.sources
    asked = [_check_dify(settings, each) for each in given if each.url]
    asked += [_check_broker(each) for each in given if each.broker_url]
    if not any(each.url for each in given):
        nothing = {"check": "dify", "is_well": True, "result": "not set: nothing is pulled"}
        return [nothing, *await asyncio.gather(*asked)]
    return await asyncio.gather(*asked)


def _named(what: str, name: str) -> str:
    return what if name == UNNAMED else f"{what} {name}"


async def _check_broker(given: DifySource) -> Plain:
    name = _named("broker", given.name)
    try:
        async with sources.broker(given) as broker:
            look = await broker.sample(utc_now())
    except DifyMetricError as error:
        return {"check": name, "is_well": False, "result": str(error)}
    waiting = sum(sample.ready or 0 for sample in look.samples)
    told = f"{_number(len(look.samples), 'queues')}, {_number(waiting, 'messages')} waiting"
    return {"check": name, "is_well": not look.troubles, "result": "; ".join((told, *look.troubles))}


async def _check_dify(settings: Settings, given: DifySource) -> Plain:
    name = _named("dify", given.name)
    try:
        console = sources.console(settings, given)
    except DifyMetricError as error:
        return {"check": name, "is_well": False, "result": str(error)}
    async with console:
        try:
            workspace = await console.workspace_id()
            # An admin key names its workspace without asking anyone; only an answer says that it is taken.
            apps = integer(await console.get(APPS.path, {"page": "1", "limit": "1"}), "total") or 0
            version = ".".join(map(str, console.version)) if console.version else "of unknown version"
            told = f"signed in to Dify {version}, workspace {workspace}, {_number(apps, 'apps')}"
            return {"check": name, "is_well": True, "result": told}
        except DifyMetricError as error:
            return {"check": name, "is_well": False, "result": str(error)}

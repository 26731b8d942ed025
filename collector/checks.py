"""Whether a Dify, its database and its broker answer, and take what we show them: settings in, a line for each out.

Every check is one look, and changes nothing. Results name the server and what is missing; they never hold a credential.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import ValidationError

from collector.access import Scope
from collector.clock import utc_now
from collector.errors import DifyMetricError, QueryError
from collector.settings import DifySource, Settings
from collector.settings.source import UNNAMED

if TYPE_CHECKING:
    import httpx

    from collector.sources import Source

Plain: TypeAlias = Mapping[str, Any]

SCOPE = Scope.ADMIN
"""What it takes to have a service look: each look may sign in, and six wrong passwords lock an account of Dify."""


def checked(name: str, look: Callable[[], str]) -> Plain:
    """What a look found, or why it failed."""
    try:
        return {"check": name, "is_well": True, "result": look()}
    except DifyMetricError as error:
        return {"check": name, "is_well": False, "result": str(error)}


async def of_sources(
    settings: Settings,
    *,
    refused: Mapping[str, str] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> list[Plain]:
    """Every Dify, database and broker of the settings, all asked at once; one line that says so where there is none.

    `refused`: by check, why a source refused us already. It is told again, and the source is left alone.
    """
    given, known = settings.sources, refused or {}
    asked = [_dify(settings, each, known, transport) for each in given if each.url]
    asked += [_database(each, known) for each in given if each.database_url]
    asked += [_broker(each) for each in given if each.broker_url]
    if not any(each.url or each.database_url for each in given):
        nothing = {"check": "dify", "is_well": True, "result": "not set: nothing is pulled"}
        return [nothing, *await asyncio.gather(*asked)]
    return await asyncio.gather(*asked)


async def of_wish(
    settings: Settings, wish: Mapping[str, object], transport: httpx.AsyncBaseTransport | None = None
) -> list[Plain]:
    """One Dify that is not set yet: whether these settings for it would work. Raises QueryError naming the field."""
    try:
        given = DifySource.model_validate({"name": UNNAMED, **wish})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = str(first["loc"][0]) if first["loc"] else "url"
        why = first["msg"].removeprefix("Value error, ")
        raise QueryError(f"{field}: {why}", field=field, remedy="write it as it would stand in the settings") from None
    return [await _dify(settings, given, {}, transport)]


def refusals(sources: Sequence[Source]) -> dict[str, str]:
    """By check, why a source refused us; sources that did not are not in it."""
    found = {}
    for each in sources:
        if each.console and each.console.refused:
            found[named("dify", each.name)] = each.console.refused
        if each.database and each.database.refused:
            found[named("database", each.name)] = each.database.refused
    return found


def named(what: str, name: str) -> str:
    """What a check is called."""
    return what if name == UNNAMED else f"{what} {name}"


def number(how_many: int, what: str) -> str:
    """ "1 app", "1,204 apps"."""
    return f"{how_many:,} {what.removesuffix('s') if how_many == 1 else what}"


async def _looked(name: str, refused: Mapping[str, str], look: Callable[[], Awaitable[tuple[bool, str]]]) -> Plain:
    """Whether all is well and what a look found, or why it failed; who refused us is not looked at again."""
    if name in refused:
        return {"check": name, "is_well": False, "result": refused[name]}
    try:
        is_well, result = await look()
    except DifyMetricError as error:
        is_well, result = False, str(error)
    return {"check": name, "is_well": is_well, "result": result}


async def _database(given: DifySource, refused: Mapping[str, str]) -> Plain:
    from collector import sources

    async def look() -> tuple[bool, str]:
        found = await asyncio.to_thread(sources.examined, given, utc_now)
        told = f"{found.server} as {found.user}"
        if found.missing:
            return False, f"{told} lacks rights; as the owner of Dify's tables: {' '.join(found.missing)}"
        rights = "may read what is needed and nothing else"
        if found.more:
            rights = f"more rights than needed: {', '.join(found.more)}"
        where = f" of workspace {given.workspace_id}" if given.workspace_id else ""
        return True, f"{told}, {number(found.apps or 0, 'apps')}{where}; {rights}"

    return await _looked(named("database", given.name), refused, look)


async def _broker(given: DifySource) -> Plain:
    from collector import sources

    async def look() -> tuple[bool, str]:
        async with sources.broker(given) as broker:
            found = await broker.sample(utc_now())
        waiting = sum(sample.ready or 0 for sample in found.samples)
        told = f"{number(len(found.samples), 'queues')}, {number(waiting, 'messages')} waiting"
        return not found.troubles, "; ".join((told, *found.troubles))

    return await _looked(named("broker", given.name), {}, look)


async def _dify(
    settings: Settings,
    given: DifySource,
    refused: Mapping[str, str],
    transport: httpx.AsyncBaseTransport | None = None,
) -> Plain:
    from collector import sources
    from collector.fields import integer
    from collector.pull.endpoints import APPS

    async def look() -> tuple[bool, str]:
        async with sources.console(settings, given, transport) as console:
            workspace = await console.workspace_id()
            # An admin key names its workspace without asking anyone; only an answer says that it is taken.
            apps = integer(await console.get(APPS.path, {"page": "1", "limit": "1"}), "total") or 0
            version = ".".join(map(str, console.version)) if console.version else "of unknown version"
            return True, f"signed in to Dify {version}, workspace {workspace}, {number(apps, 'apps')}"

    return await _looked(named("dify", given.name), refused, look)

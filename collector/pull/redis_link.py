"""The connection to a Redis: batches of commands in, their answers out, each batch in one round trip.

Takes every URL that Celery takes for Redis, so that Dify's own CELERY_BROKER_URL can be copied:

    redis://[user[:password]@]host[:port][/database]
    rediss://...?ssl_cert_reqs=required|none&ssl_ca_certs=FILE&ssl_certfile=FILE&ssl_keyfile=FILE&ssl_check_hostname=false
    unix://[user[:password]@]/path[?db=1]     or   redis+socket:///path?virtual_host=1
    sentinel://[user[:password]@]host:26379[/database][;sentinel://host:26379...]?master_name=NAME
               [&sentinel_password=...&sentinel_username=...]

Needs the extra `broker`, and is imported only where a broker is read. Which commands are asked is not decided here.
A password stands in no message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, TypeAlias
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterError,
    NoPermissionError,
    RedisError,
    ResponseError,
)

from collector.errors import DifyMetricError, Forbidden, SettingsError, Unauthorized, Unavailable

Command: TypeAlias = tuple[str | int, ...]

READ_ONLY_USER = (
    "ACL SETUSER dify-metric on >PASSWORD ~* resetchannels -@all "
    "+ping +select +scan +smembers +llen +lindex +hlen +hmget +zrange"
)
"""What a Redis of version 6 or newer is told so that dify-metric may read and nothing else."""

_SOCKET_SCHEMES = {"unix", "redis+socket", "redis+unix"}
_SCHEMES = {"redis", "rediss", "sentinel"} | _SOCKET_SCHEMES
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OPTIONS = {*_TLS_FILES, "ssl_cert_reqs", "ssl_check_hostname", "db", "virtual_host"}
_SENTINEL_OPTIONS = {"master_name", "sentinel_password", "sentinel_username"}
_WRONG_TYPE = "WRONGTYPE"
_OF_A_CLUSTER = (ClusterError, AskError)


@dataclass(frozen=True)
class Place:
    """Where a Redis is and how to sign in. Its text names no password."""

    scheme: str
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        at = self.path or ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{self.scheme}://{at} database {self.db}"

    def at_database(self, db: int) -> Place:
        """The same Redis, another of its databases."""
        return replace(self, db=db)


def parse_place(url: str) -> Place:
    """A URL -> Place. Raises SettingsError, which quotes no part of the URL that could be a password."""
    urls = [_split(part) for part in url.split(";")]
    if len(urls) > 1 and {part.scheme for part in urls} != {"sentinel"}:
        raise SettingsError("broker URL: several addresses, divided by ';', are for sentinel:// only")
    options = {name: values[0] for part in urls for name, values in parse_qs(part.query).items()}
    place = Place(
        scheme=urls[0].scheme,
        db=_database(urls[0], options),
        username=unquote(urls[0].username or "") or None,
        password=unquote(urls[0].password or "") or None,
        options=options,
    )
    _check_options(place)
    if place.scheme in _SOCKET_SCHEMES:
        return replace(place, path=unquote(urls[0].path))
    port = 26379 if place.scheme == "sentinel" else 6379
    return replace(place, hosts=tuple((part.hostname or "localhost", part.port or port) for part in urls))


class RedisLink:
    """An open way to one Redis. Connects at the first question; a lost connection is made anew at the next."""

    def __init__(self, place: Place, *, timeout_seconds: float = 5.0) -> None:
        self.place = place
        self.round_trips = 0
        self._sentinel, self._redis = _clients(place, timeout_seconds)

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send all commands at once; return their answers in order, None for a key of another type.

        Raises Unauthorized, Forbidden, Unavailable, SettingsError.
        """
        if not commands:
            return []
        self.round_trips += 1
        try:
            pipeline = self._redis.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            answers = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            raise self._explained(error) from None
        return [self._checked(answer) for answer in answers]

    async def aclose(self) -> None:
        """Let go of every connection."""
        await self._redis.aclose()
        for sentinel in self._sentinel.sentinels if self._sentinel else ():
            await sentinel.aclose()

    async def __aenter__(self) -> RedisLink:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _checked(self, answer: object) -> object:
        if isinstance(answer, ResponseError) and str(answer).startswith(_WRONG_TYPE):
            return None
        if isinstance(answer, Exception):
            raise self._explained(answer)
        return answer

    def _explained(self, error: Exception) -> DifyMetricError:
        """What a caller can do about it. Redis's own words hold no credential."""
        if isinstance(error, AuthenticationError | AuthorizationError):
            return Unauthorized(f"{self.place}: Redis refused the user or password ({error}); check the broker URL")
        if isinstance(error, NoPermissionError):
            return Forbidden(f"{self.place}: {error}; what is needed: {READ_ONLY_USER}")
        if isinstance(error, BusyLoadingError):
            return Unavailable(f"{self.place}: Redis is loading its data", retry_after_seconds=10.0)
        if isinstance(error, ResponseError) and "DB index" in str(error):
            return SettingsError(f"{self.place}: this Redis has no such database; check the end of the URL")
        if isinstance(error, _OF_A_CLUSTER) or "cluster mode" in str(error):
            return SettingsError(f"{self.place}: a node of a Redis Cluster; Celery's broker is a Redis of its own")
        return Unavailable(f"{self.place}: {error or type(error).__name__}; is Redis up, and reachable from here?")


def _clients(place: Place, timeout_seconds: float) -> tuple[Sentinel | None, Redis]:
    shared: dict[str, Any] = {
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "protocol": 2,  # the answers of commands differ between 2 and 3; every Redis speaks 2
        "retry": Retry(NoBackoff(), 0),  # the schedule tries again, with its own patience
        "driver_info": None,  # no CLIENT SETINFO: a user that may only read would fill Redis's ACL log with refusals
    }
    signed = shared | {"db": place.db, "username": place.username, "password": place.password}
    if place.scheme == "sentinel":
        asked = {name.removeprefix("sentinel_"): place.options.get(name) for name in sorted(_SENTINEL_OPTIONS)}
        master = asked.pop("master_name") or ""
        sentinel = Sentinel(place.hosts, sentinel_kwargs=shared | asked, **signed)  # type: ignore[no-untyped-call]
        return sentinel, sentinel.master_for(master)
    if place.path:
        return None, Redis(unix_socket_path=place.path, **signed)
    host, port = place.hosts[0]
    return None, Redis(host=host, port=port, **signed, **_tls(place))


def _tls(place: Place) -> dict[str, Any]:
    if place.scheme != "rediss":
        return {}
    wanted = place.options.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")
    if wanted not in ("required", "optional", "none"):
        raise SettingsError("broker URL: ssl_cert_reqs: wanted required, optional or none")
    checks_name = place.options.get("ssl_check_hostname", "true").lower() not in ("false", "0", "no")
    return {
        "ssl": True,
        "ssl_cert_reqs": wanted,
        "ssl_check_hostname": checks_name and wanted == "required",
    } | {name: place.options[name] for name in _TLS_FILES if name in place.options}


def _split(url: str) -> SplitResult:
    scheme = url.strip().partition("://")[0]
    if scheme not in _SCHEMES or "://" not in url:
        raise SettingsError(
            "broker URL: wanted redis://, rediss://, unix:// or sentinel:// at its start; "
            "only Redis brokers can be read (and ; in a password is written %3B)"
        )
    try:
        parts = urlsplit(url.strip())
        is_read = parts.port != 0 and "@" not in parts.path + parts.query + parts.fragment
    except ValueError:  # its own text may quote a piece of the password
        is_read = False
    if not is_read:
        raise SettingsError(
            "broker URL: cannot be read; in user and password write : / ? # @ and % as %3A %2F %3F %23 %40 %25"
        )
    return parts


def _database(url: SplitResult, options: Mapping[str, str]) -> int:
    in_path = "" if url.scheme in _SOCKET_SCHEMES else url.path.strip("/")
    written = options.get("db") or options.get("virtual_host", "").strip("/") or in_path or "0"
    if not written.isascii() or not written.isdigit():
        raise SettingsError("broker URL: the database after the last / is a number, such as 1 (Dify's default)")
    return int(written)


def _check_options(place: Place) -> None:
    allowed = _OPTIONS | _SENTINEL_OPTIONS if place.scheme == "sentinel" else _OPTIONS
    for name in place.options:
        if name not in allowed:
            raise SettingsError(f"broker URL: no option {name!r}; there are {', '.join(sorted(allowed))}")
    if place.scheme == "sentinel" and "master_name" not in place.options:
        raise SettingsError("broker URL: sentinel:// needs ?master_name=, the value of CELERY_SENTINEL_MASTER_NAME")

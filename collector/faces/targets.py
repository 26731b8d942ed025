"""The taps as targets for Prometheus: what they tell of themselves comes in, a list for `http_sd_configs` goes out.

A tap tells where its own numbers are, once a minute. One that is silent stays in the list for a day, so that Prometheus
sees it is down. Nothing is kept over a restart: until every tap had time to tell again there is no list at all, and
Prometheus goes on with the one it has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Annotated

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, ValidationError

from collector.access import Scope
from collector.faces.guard import address_of, needs
from collector.faces.problems import PROBLEM_RESPONSES, problem
from collector.settings.written import Address, Listen

TOLD_EVERY = timedelta(seconds=60)
"""How often a tap tells where it is."""

PATIENCE = TOLD_EVERY * 1.5
"""So long after we begin there is no list."""

REMEMBERED = timedelta(days=1)
"""How long a tap that is silent stays a target."""

MOST_TAPS = 1000
"""More are not taken: so many would be a fault, or somebody's joke."""

_ADDRESS = TypeAdapter(Listen)

log = structlog.get_logger()


def _is_address(written: str) -> str:
    try:
        _ADDRESS.validate_python(written)
    except ValidationError as refused:
        raise ValueError(f"wanted host:port, such as 10.0.0.5:9181: {refused.errors()[0]['msg']}") from None
    return written


class Tap(BaseModel):
    """What a tap says of itself."""

    admin: Annotated[str, AfterValidator(_is_address)] = Field(
        description="host:port where its /metrics is; 0.0.0.0 or [::]: on the address it asks from.", max_length=300
    )
    name: str = Field("", description="Of its machine.", max_length=200)
    version: str = Field("", max_length=50)


class Told(BaseModel):
    """How it is listed."""

    target: str | None = Field(description="host:port for Prometheus; null: it cannot be reached from elsewhere.")


class Target(BaseModel):
    """One entry, as Prometheus' http_sd takes it."""

    targets: list[str] = Field(description="host:port")
    labels: dict[str, str] = Field(description="`tap`: its machine's name; `__meta_dify_metric_version`: what it is.")


@dataclass(frozen=True)
class _Heard:
    tap: Tap
    at: datetime


class Taps:
    """The taps that told of themselves, by the address they are scraped at."""

    def __init__(self, clock: Callable[[], datetime], patience: timedelta = PATIENCE) -> None:
        self._clock, self._heard = clock, dict[str, _Heard]()
        self._ready_at = clock() + patience
        self._out_of_reach: set[str] = set()  # by address; told once

    def tell(self, tap: Tap, address: str) -> str | None:
        """Take what a tap at that address says; how it is listed."""
        target = reached(_ADDRESS.validate_python(tap.admin), address)
        if target is None and address not in self._out_of_reach and len(self._out_of_reach) < MOST_TAPS:
            self._out_of_reach.add(address)
            log.warning("a tap cannot be scraped", admin=tap.admin, tap=tap.name, next="set tap_admin or tap_advertise")
        elif target is not None and (target in self._heard or len(self._heard) < MOST_TAPS):
            self._heard[target] = _Heard(tap, self._clock())
        return target

    def listed(self) -> list[Target] | None:
        """Every tap heard of lately; None while some may not have told yet."""
        now = self._clock()
        self._heard = {target: heard for target, heard in self._heard.items() if now < heard.at + REMEMBERED}
        if now < self._ready_at:
            return None
        return [
            Target(targets=[target], labels=_labels(heard.tap, target)) for target, heard in sorted(self._heard.items())
        ]


def reached(admin: Address, address: str) -> str | None:
    """Where Prometheus reaches the door of a tap that asked us from an address; None: only its own machine does."""
    host = admin.host.strip("[]")
    try:
        there = ip_address(host)
    except ValueError:
        is_here, is_any = host == "localhost", False
    else:
        is_here, is_any = there.is_loopback, there.is_unspecified
    if is_any:
        return str(Address(address, admin.port))
    return None if is_here and not _is_loopback(address) else str(Address(host, admin.port))


def router(taps: Taps) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["service"], responses=PROBLEM_RESPONSES)

    @routes.post("/api/v1/taps", summary="Tell where a tap is · 旁路登记", dependencies=[needs(Scope.INGEST)])
    async def tell(tap: Tap, request: Request) -> Told:
        """What every tap does once a minute, so that Prometheus finds it."""
        return Told(target=taps.tell(tap, address_of(request)))

    @routes.get(
        "/api/v1/prometheus/targets",
        summary="The taps, for Prometheus' http_sd · 旁路抓取目标",
        response_model=list[Target],
        responses={503: {"description": "The taps have not had time to tell since the service began."}},
        dependencies=[needs(Scope.METRICS)],
    )
    async def targets() -> JSONResponse:
        """A list for `http_sd_configs`. 503 just after a start: Prometheus then goes on with the list it has."""
        if (listed := taps.listed()) is None:
            answer = problem(503, "Not yet", "the taps have not had time to tell where they are; ask again")
            answer.headers["Retry-After"] = str(int(TOLD_EVERY.total_seconds()))
            return answer
        return JSONResponse([target.model_dump() for target in listed])

    return routes


def _labels(tap: Tap, target: str) -> dict[str, str]:
    return {"tap": tap.name or target, "__meta_dify_metric_version": tap.version}


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False

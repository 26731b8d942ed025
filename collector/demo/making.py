"""Worlds with a past: N days of traffic with a daily rhythm, and traffic that goes on as the clock does.

What comes in are days, requests a day, a seed and now; what goes out is a World (the same for the same arguments) and,
where wanted, a `Life` that appends to it whenever it is told the time. Nothing here looks at a clock or sleeps.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import accumulate
from random import Random
from zoneinfo import ZoneInfo

from collector.demo.cast import PEOPLE, make_cast
from collector.demo.drawing import Drawing
from collector.demo.plan import Asked, Habits, Plan
from collector.demo.rows import Account, App, EndUser
from collector.demo.timeline import timeline
from collector.demo.world import World

_HOURS = (2, 1, 1, 1, 1, 2, 4, 8, 18, 26, 28, 24, 14, 18, 26, 28, 26, 22, 14, 10, 9, 8, 6, 4)
"""How much of a day's traffic each local hour gets."""

_WEEKEND = 0.35


class Crowd:
    """Who asks what: draws requests from one source of chance."""

    def __init__(self, world: World, rng: Random, habits: Habits, *, with_debugger: bool) -> None:
        self.world = world
        self.rng = rng
        self.drawing = Drawing(rng, habits, lambda name: _app_named(world, name))
        self._with_debugger = with_debugger
        self._people_weights = [1 / (place + 1) for place in range(len(PEOPLE))]

    def arrive(self, at: datetime) -> Iterator[Plan]:
        """The requests that come in at this instant: mostly one, now and then a whole batch of them."""
        apps = list(self.world.apps.values())
        if not apps:
            return
        app = self.rng.choices(apps, [app.weight for app in apps])[0]
        is_batch = app.mode == "workflow" and self.rng.random() < 0.01
        for _ in range(self.rng.randint(3, 7) if is_batch else 1):
            yield self._request(app, at)

    def ratings(self, plan: Plan) -> list[tuple[datetime, EndUser | Account, str | None]]:
        """What becomes of the answer afterwards: ratings, second thoughts, withdrawals; oldest first."""
        rng, message = self.rng, plan.message
        if not message or plan.is_debug or rng.random() >= self.drawing.habits.feedback:
            return []
        at = message.created_at + timedelta(seconds=plan.seconds + rng.randint(5, 90))
        rating = "like" if rng.random() < 0.7 else "dislike"
        found: list[tuple[datetime, EndUser | Account, str | None]] = [(at, plan.user, rating)]
        if rng.random() < 0.15:
            changed = {"like": "dislike", "dislike": "like"}[rating] if rng.random() < 0.6 else None
            found.append((at + timedelta(seconds=rng.randint(10, 600)), plan.user, changed))
        if rng.random() < 0.2:
            found.append((at + timedelta(seconds=rng.randint(700, 4000)), self.world.accounts[0], rating))
        return found

    def _request(self, app: App, at: datetime) -> Plan:
        rng = self.rng
        user, invoke_from, triggered_from = self._caller(app)
        prompt = rng.choice(app.prompts)
        conversation = None
        if app.mode not in ("workflow", "completion") and invoke_from != "debugger" and rng.random() < 0.6:
            conversation = self.world.latest_conversation(app, user)
            if conversation and at - conversation.updated_at > timedelta(hours=20):
                conversation = None
        plan = self.drawing.draw(
            Asked(
                app=app,
                user=user,
                at=at,
                query=prompt,
                inputs=dict.fromkeys(app.inputs, prompt),
                invoke_from=invoke_from,
                triggered_from=triggered_from,
                conversation=conversation,
                turn=len(self.world.messages_in.get(conversation.id, ())) if conversation else 0,
            )
        )
        plan.fate = self._fate(plan)
        return plan

    def _caller(self, app: App) -> tuple[EndUser | Account, str, str]:
        """Who asks: (person, invoke_from, triggered_from)."""
        rng, chance = self.rng, self.rng.random()
        if app.triggers and chance < 0.3:
            return self.world.end_user(app, "trigger", "DEFAULT-USER"), "trigger", rng.choice(app.triggers)
        if chance > 0.96 and (app.has_workflow or self._with_debugger):
            return self.world.accounts[rng.randrange(3)], "debugger", "debugging"
        if chance > 0.93 and app.mode == "workflow":
            return self.world.accounts[rng.randrange(3)], "explore", "app-run"
        person = rng.choices(PEOPLE, self._people_weights)[0]
        if chance > 0.75:
            return self.world.end_user(app, "browser", person), "web-app", "app-run"
        return self.world.end_user(app, "service-api", person), "service-api", "app-run"

    def _fate(self, plan: Plan) -> str:
        has_failed = (
            plan.run_end.status == "failed" if plan.run_end else bool(plan.message_end and plan.message_end.error)
        )
        if has_failed or plan.children:
            return "ends"
        if plan.run and self.rng.random() < self.drawing.habits.stops:
            return "stopped"
        if plan.message and self.rng.random() < self.drawing.habits.disconnects:
            return "disconnected"
        return "ends"


class Life:
    """Traffic that goes on: told the time, it appends what has happened up to then."""

    def __init__(self, crowd: Crowd, seed: int, runs_per_day: int, since: datetime) -> None:
        self._crowd = crowd
        self._arrivals = _arrivals_from(since, seed, runs_per_day)
        self._next = next(self._arrivals)
        self._agenda: list[tuple[datetime, int, Callable[[], None]]] = []
        self._sequence = 0

    def advance(self, now: datetime) -> None:
        """Let everything happen that is due by now, in its order."""
        while True:
            due = self._agenda[0][0] if self._agenda else None
            if self._next <= now and (due is None or self._next < due):
                for plan in self._crowd.arrive(self._next):
                    self.take(plan)
                self._next = next(self._arrivals)
            elif due is not None and due <= now:
                heapq.heappop(self._agenda)[2]()
            else:
                return

    def take(self, plan: Plan) -> None:
        """Let a request happen in its time, and what becomes of its answer."""
        world = self._crowd.world
        for moment in timeline(world, plan):
            self.remember(moment.at, moment.happen)
        for at, person, rating in self._crowd.ratings(plan):
            self.remember(at, partial(_rate, world, plan, at, person, rating))

    def remember(self, at: datetime, action: Callable[[], None]) -> None:
        """Let something happen at that instant."""
        self._sequence += 1
        heapq.heappush(self._agenda, (at, self._sequence, action))


def make_world(
    *,
    days: float = 30,
    runs_per_day: int = 200,
    seed: int = 7,
    now: datetime,
    timezone: str = "Asia/Shanghai",
    habits: Habits | None = None,
    with_debugger: bool = False,
) -> World:
    """A world with this many days behind it, nothing under way but what was stopped.

    `with_debugger`: chat, completion and agent apps are debugged too. `timezone` is where the accounts live; the
    rhythm of a day is Shanghai's.
    """
    world, crowd = _begun(days, seed, now, timezone, habits, with_debugger)
    for plan in _past(crowd, now - timedelta(days=days), now, seed, runs_per_day):
        world.settle(plan)
        for at, person, rating in crowd.ratings(plan):
            if at <= now:
                _rate(world, plan, at, person, rating)
    return world


def make_living_world(
    *,
    days: float = 30,
    runs_per_day: int = 200,
    seed: int = 7,
    now: datetime,
    timezone: str = "Asia/Shanghai",
    habits: Habits | None = None,
    with_debugger: bool = False,
) -> tuple[World, Life]:
    """A world with a past and with requests under way, and the life that continues it from now on."""
    world, crowd = _begun(days, seed, now, timezone, habits, with_debugger)
    life = Life(crowd, seed, runs_per_day, now)
    for plan in _past(crowd, now - timedelta(days=days), now, seed, runs_per_day):
        if plan.at + timedelta(seconds=plan.seconds) > now:
            life.take(plan)
            continue
        world.settle(plan)
        for at, person, rating in crowd.ratings(plan):
            life.remember(at, partial(_rate, world, plan, at, person, rating))
        life.advance(now)
    return world, life


def _begun(
    days: float, seed: int, now: datetime, timezone: str, habits: Habits | None, with_debugger: bool
) -> tuple[World, Crowd]:
    """An empty world, and those who will ask it."""
    rng = Random(seed)
    began_at = (now - timedelta(days=days + 1)).replace(microsecond=0)
    world = World(make_cast(rng, began_at, timezone), Random(seed + 1))
    return world, Crowd(world, rng, habits or Habits(), with_debugger=with_debugger)


def _past(crowd: Crowd, since: datetime, now: datetime, seed: int, runs_per_day: int) -> Iterator[Plan]:
    """The requests from then to now, each drawn when the ones before it are settled."""
    for at in _arrivals_from(since.replace(microsecond=0), seed, runs_per_day):
        if at > now:
            return
        yield from crowd.arrive(at)


def _rate(world: World, plan: Plan, at: datetime, person: EndUser | Account, rating: str | None) -> None:
    if plan.message and plan.message.id in world.messages:
        world.rate(plan.message, person, rating, at, "不够具体" if rating == "dislike" else None)


def _app_named(world: World, name: str) -> App | None:
    return next((app for app in world.apps.values() if app.name == name), None)


def _arrivals_from(since: datetime, seed: int, runs_per_day: int) -> Iterator[datetime]:
    """The instants requests come in after `since`, for ever: each day's are the same whenever the traffic began."""
    place = ZoneInfo("Asia/Shanghai")
    day = since.astimezone(place).replace(hour=0, minute=0, second=0, microsecond=0)
    while True:
        for at in _day(day.astimezone(UTC), day.weekday() >= 5, Random(f"{seed}/{day.date()}"), runs_per_day):
            if at > since:
                yield at
        day += timedelta(days=1)


def _day(midnight: datetime, is_weekend: bool, rng: Random, runs_per_day: int) -> list[datetime]:
    count = max(1, round(runs_per_day * (_WEEKEND if is_weekend else 1.0) * rng.uniform(0.9, 1.15)))
    hours = rng.choices(range(24), cum_weights=list(accumulate(_HOURS)), k=count)
    return sorted(midnight + timedelta(hours=h, microseconds=rng.randrange(3_600_000_000)) for h in hours)

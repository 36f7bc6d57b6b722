"""Durable commands per second through core and journal, and how flat that is over the past.

A real journal (WAL, synchronous=FULL) on a real disk. One caller waits for each answer before the
next command; 32 callers do the same at once and share appends. The commands are a hall's: issue,
confirm, call next, start, finish, rate. The past is made of whole tickets, as they stand in a
journal after years.
"""

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from bench.past import TICKETS_A_DAY, WINDOWS, fill, plan, texts_of_a_day, visit
from contract.commands import OpenDay, Refusal, SignOn
from edge import snapshot
from edge.bootstrap import restore
from edge.cli import spare_the_collector
from edge.clock import SystemClock
from edge.controller import Controller
from edge.journal.database import PRAGMAS
from edge.journal.journal import Journal
from edge.queue.day import business_day
from edge.ulid import new_ulid

HALL = "bench"


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Controller]:
    """A hall's core and journal, with all windows open."""
    clock = SystemClock()
    journal = await Journal.open(path, hall=HALL, new_epoch=new_ulid)
    state, position = await restore(journal)
    controller = Controller(plan(), state, position, journal, clock)
    writer = asyncio.create_task(controller.run())
    today = business_day(controller.plan, clock.now())
    if state.business_day != today:
        await controller.submit(OpenDay(business_day=today))
        for window in range(1, WINDOWS + 1):
            await controller.submit(SignOn(window=window, clerk=str(window)))
    try:
        yield controller
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        await journal.save_snapshot(controller.position, snapshot.to_json(controller.state))
        await journal.close()


@dataclass(frozen=True)
class Throughput:
    callers: int
    past_tickets: int
    per_second: float


def bare_sqlite(path: Path, seconds: float) -> float:
    """Commits per second where nothing is done but to keep events: one thread, one table, the
    journal's pragmas, one event in each. What one caller could reach at most on this disk."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for pragma in PRAGMAS:
            database.execute(pragma)
        database.execute("CREATE TABLE events (position INTEGER PRIMARY KEY, body TEXT NOT NULL)")
        done, started = 0, time.perf_counter()
        for text in cycle(texts_of_a_day(HALL)):
            database.execute("INSERT INTO events (body) VALUES (?)", (text,))
            done += 1
            if time.perf_counter() - started >= seconds:
                break
        return done / (time.perf_counter() - started)


async def measure(path: Path, callers: int, past_tickets: int, seconds: float) -> Throughput:
    async with opened(path) as controller:
        end = time.perf_counter() + seconds
        done = 0

        async def caller(window: int) -> None:
            nonlocal done
            while time.perf_counter() < end:
                for command in visit(window):
                    outcome = await controller.submit(command)
                    if isinstance(outcome, Refusal):  # that would be quick, and no work
                        raise TypeError(f"no command of a visit is refused: {outcome}")
                    done += 1

        started = time.perf_counter()
        await asyncio.gather(*(caller(window) for window in range(1, callers + 1)))
        return Throughput(callers, past_tickets, done / (time.perf_counter() - started))


@dataclass(frozen=True)
class Rates:
    bare_per_second: float
    found: list[Throughput]


async def measure_all(disk: Path, pasts: tuple[int, ...], seconds: float, rounds: int) -> Rates:
    """The best of ``rounds`` for each past, in tickets, with 1 and with 32 callers, and of SQLite
    alone. They take turns, so that whatever else the machine does meets all of them."""
    bare = 0.0
    best: dict[tuple[int, int], Throughput] = {}
    spare_the_collector()  # as the controller does before it begins
    with tempfile.TemporaryDirectory(dir=disk, prefix=".bench-") as folder:
        paths = {tickets: Path(folder) / f"journal-{tickets}.db" for tickets in pasts}
        for tickets, path in paths.items():
            if tickets:
                days = -(-tickets // TICKETS_A_DAY)
                await asyncio.to_thread(fill, path, HALL, days=days, acked=False)
        for callers in (1, WINDOWS):
            for turn in range(rounds):
                alone = Path(folder) / f"bare-{callers}-{turn}.db"
                bare = max(bare, await asyncio.to_thread(bare_sqlite, alone, seconds))
                for tickets, path in paths.items():
                    found = await measure(path, callers, tickets, seconds)
                    key = (callers, tickets)
                    if key not in best or found.per_second > best[key].per_second:
                        best[key] = found
    return Rates(bare, list(best.values()))

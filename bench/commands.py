"""Durable commands per second through core and journal, and how flat that is over the past.

    python -m bench.commands [--seconds 5] [--past 0 500000]

A real journal (WAL, synchronous=FULL) on the disk of ``--dir``. One caller waits for each answer
before the next command; 32 callers do the same at once and share appends. The commands are a
hall's: issue, confirm, call next, start, finish, rate. The past is made of whole tickets, as they
stand in a journal after years.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from contract.commands import (
    CallNext,
    CloseDay,
    Command,
    ConfirmPrint,
    Finish,
    IssueTicket,
    OpenDay,
    Rate,
    Refusal,
    SignOn,
    Start,
)
from contract.events import HallEvent
from contract.names import Moment, Rating
from edge import snapshot
from edge.bootstrap import restore
from edge.clock import SystemClock
from edge.controller import Controller
from edge.journal.journal import Journal
from edge.queue.apply import apply
from edge.queue.decide import decide
from edge.queue.estimate import QueueLength
from edge.queue.plan import HallPlan, Service, Skills
from edge.queue.state import HallState
from edge.ulid import new_ulid

WINDOWS = 32
TICKETS_A_DAY = 500
EVENTS_A_PIECE = 2_000


def plan(windows: int = WINDOWS) -> HallPlan:
    return HallPlan(
        services={"payment": Service("payment", "A", last_number=99_999)},
        windows={number: Skills({"payment": 0}) for number in range(1, windows + 1)},
        time_zone=ZoneInfo("Asia/Shanghai"),
        estimator=QueueLength(),
    )


def past(tickets: int) -> Iterator[list[HallEvent]]:
    """Events of so many finished tickets, in pieces, day after day up to yesterday."""
    hall, state, piece = plan(), HallState(), []
    days = -(-tickets // TICKETS_A_DAY)
    today = datetime.now(UTC).replace(hour=1, minute=0, second=0, microsecond=0)
    for day in range(days):
        morning = today - timedelta(days=days - day)
        at = Moment(wall=morning, monotonic=day * 86_400.0, boot="past")
        todays = min(TICKETS_A_DAY, tickets - day * TICKETS_A_DAY)
        for command in _one_day(morning.date(), todays):
            outcome = decide(hall, state, command, at)
            if isinstance(outcome, Refusal):
                raise RuntimeError(str(outcome))
            for event in outcome:
                state = apply(state, event)
            piece += outcome
        if len(piece) >= EVENTS_A_PIECE:
            yield piece
            piece = []
    yield piece


def _one_day(day: date, tickets: int) -> Iterator[Command]:
    yield OpenDay(business_day=day)
    yield SignOn(window=1, clerk="1")
    for _ in range(tickets):
        yield from visit(1)
    yield CloseDay()


def visit(window: int) -> Iterator[Command]:
    """The six commands of one customer's visit."""
    ticket = new_ulid()
    yield IssueTicket(ticket=ticket, service="payment")
    yield ConfirmPrint(ticket=ticket)
    yield CallNext(window=window)
    yield Start(window=window)
    yield Finish(window=window)
    yield Rate(window=window, rating=Rating.SATISFIED)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Controller]:
    """A hall's core and journal, with all windows open."""
    clock = SystemClock()
    journal = await Journal.open(path, hall="bench", new_epoch=new_ulid)
    state, position = await restore(journal)
    controller = Controller(plan(), state, position, journal, clock)
    writer = asyncio.create_task(controller.run())
    if state.business_day != datetime.now(UTC).date():
        await controller.submit(OpenDay(business_day=datetime.now(UTC).date()))
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
    refused: int


async def measure(path: Path, callers: int, past_tickets: int, seconds: float) -> Throughput:
    async with opened(path) as controller:
        end = time.perf_counter() + seconds
        done = refused = 0

        async def caller(window: int) -> None:
            nonlocal done, refused
            while time.perf_counter() < end:
                for command in visit(window):
                    outcome = await controller.submit(command)
                    done += 1
                    refused += isinstance(outcome, Refusal)

        started = time.perf_counter()
        await asyncio.gather(*(caller(window) for window in range(1, callers + 1)))
        return Throughput(callers, past_tickets, done / (time.perf_counter() - started), refused)


async def fill(path: Path, tickets: int) -> None:
    journal = await Journal.open(path, hall="bench", new_epoch=new_ulid)
    state = HallState()
    made = 0
    for piece in past(tickets):
        made = await journal.append(piece)
        for event in piece:
            state = apply(state, event)
    await journal.save_snapshot(made, snapshot.to_json(state))
    await journal.close()


async def run(folder: Path, pasts: list[int], seconds: float) -> None:
    print("| past tickets | callers | durable commands/s | refused |")
    print("|---|---|---|---|")
    for tickets in pasts:
        path = folder / f"journal-{tickets}.db"
        if tickets:
            await fill(path, tickets)
        for callers in (1, 32):
            rate = await measure(path, callers, tickets, seconds)
            print(
                f"| {rate.past_tickets:,} | {rate.callers} | {rate.per_second:,.0f} "
                f"| {rate.refused} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--past", type=int, nargs="+", default=[0, 500_000], help="tickets")
    parser.add_argument("--dir", type=Path, default=Path(), help="a folder on the disk in question")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir, prefix=".bench-") as folder:
        asyncio.run(run(Path(folder), options.past, options.seconds))


if __name__ == "__main__":
    main()

"""The hall of the benchmarks, and its past: journals as they stand after years, made in seconds."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
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
from contract.envelope import CloudEvent, to_json
from contract.events import HallEvent, TicketEvent, TicketIssued
from contract.names import Epoch, HallId, Moment, Rating
from edge import snapshot
from edge.journal.companion import FileLock
from edge.journal.database import connect, open_or_create
from edge.journal.journal import snapshot_sum
from edge.queue.apply import apply
from edge.queue.decide import decide
from edge.queue.estimate import QueueLength
from edge.queue.plan import HallPlan, Service, Skills
from edge.queue.state import HallState
from edge.ulid import new_ulid

WINDOWS = 32
TICKETS_A_DAY = 500
EVENTS_A_DAY = 3_500
"""About: seven of each ticket."""


def plan() -> HallPlan:
    return HallPlan(
        services={"payment": Service("payment", "A", last_number=99_999)},
        windows={number: Skills({"payment": 0}) for number in range(1, WINDOWS + 1)},
        time_zone=ZoneInfo("Asia/Shanghai"),
        estimator=QueueLength(),
    )


def visit(window: int) -> Iterator[Command]:
    """The six commands of one customer's visit."""
    ticket = new_ulid()
    yield IssueTicket(ticket=ticket, service="payment")
    yield ConfirmPrint(ticket=ticket)
    yield CallNext(window=window)
    yield Start(window=window)
    yield Finish(window=window)
    yield Rate(window=window, rating=Rating.SATISFIED)


def fill(path: Path, hall: HallId, *, days: int, acked: bool) -> int:
    """A new journal with ``TICKETS_A_DAY`` finished tickets on each of the last ``days`` days;
    the position of its last event. ``acked``: the centre has all of it.

    One day goes through the real queue core. The others are the same day with other dates, ticket
    ids and seqs: what a journal is slow or quick by is how much is in it.
    """
    lock = FileLock(path)
    try:
        epoch = open_or_create(path, lock, hall, new_ulid).epoch
    finally:
        lock.release()
    first_day = datetime.now(UTC).date() - timedelta(days=days)
    model = _ModelDay(hall, epoch, first_day)
    position, bodies = 0, [""]
    with closing(connect(path)) as database:
        database.execute("PRAGMA synchronous = OFF")  # a benchmark that is killed begins anew
        for number in range(days):
            day = first_day + timedelta(days=number)
            bodies = list(model.copied(day, behind=position))
            _insert(database, position, bodies, model.numbers, day)
            position += len(bodies)
        saved = snapshot.to_json(_state_after(bodies))
        with _transaction(database):
            database.execute(
                "INSERT INTO snapshots (position, state, sha256) VALUES (?, ?, ?)",
                (position, saved, snapshot_sum(position, saved)),
            )
            if acked:
                database.execute("UPDATE journal SET acked = ?", (position,))
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return position


def texts_of_a_day(hall: HallId) -> list[str]:
    """The events of a day, as they stand in a journal."""
    model = _ModelDay(hall, new_ulid(), datetime.now(UTC).date())
    return [line.body for line in model.lines]


@dataclass(frozen=True)
class _Line:
    body: str
    seq: int
    ticket: str


class _ModelDay:
    """A day of which copies can be made."""

    def __init__(self, hall: HallId, epoch: Epoch, day: date) -> None:
        events = list(_events_of(day))
        self.numbers = [event.number for event in events if isinstance(event, TicketIssued)]
        self._day = day.isoformat()
        self._epoch = epoch
        self.lines = [
            _Line(
                to_json(event, hall=hall, epoch=epoch, seq=seq),
                seq,
                event.ticket if isinstance(event, TicketEvent) else "no ticket",
            )
            for seq, event in enumerate(events, start=1)
        ]

    def copied(self, day: date, behind: int) -> Iterator[str]:
        """The texts of the day's events, as they stand behind that position."""
        that_day, tail = day.isoformat(), f"{behind % 10**7:07}"
        for line in self.lines:
            seq = behind + line.seq
            yield (
                line.body.replace(f"{self._epoch}.{line.seq}", f"{self._epoch}.{seq}", 1)
                .replace(f"{line.seq:020}", f"{seq:020}", 1)
                .replace(line.ticket, line.ticket[:-7] + tail)
                .replace(self._day, that_day)
            )


def _events_of(day: date) -> Iterator[HallEvent]:
    """A whole day at one window, decided by the queue core."""
    hall, state = plan(), HallState()
    wall = datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=1)
    at = Moment(wall=wall, monotonic=0.0, boot="past")
    for command in _commands_of(day):
        outcome = decide(hall, state, command, at)
        if isinstance(outcome, Refusal):
            raise RuntimeError(str(outcome))
        for event in outcome:
            state = apply(state, event)
        yield from outcome


def _commands_of(day: date) -> Iterator[Command]:
    yield OpenDay(business_day=day)
    yield SignOn(window=1, clerk="1")
    for _ in range(TICKETS_A_DAY):
        yield from visit(1)
    yield CloseDay()


def _state_after(bodies: list[str]) -> HallState:
    state = HallState()
    for body in bodies:
        state = apply(state, CloudEvent.model_validate_json(body).event())
    return state


def _insert(
    database: sqlite3.Connection, behind: int, bodies: list[str], numbers: list[str], day: date
) -> None:
    with _transaction(database):
        database.executemany(
            "INSERT INTO events (position, body) VALUES (?, ?)",
            enumerate(bodies, start=behind + 1),
        )
        database.executemany(
            "INSERT INTO numbers (business_day, number) VALUES (?, ?)",
            ((day.isoformat(), number) for number in numbers),
        )


def _transaction(database: sqlite3.Connection) -> sqlite3.Connection:
    """A context that commits, or takes back what failed."""
    database.execute("BEGIN")
    return database

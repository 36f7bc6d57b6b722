"""How fast a backlog leaves a hall, and whether what happens meanwhile has to wait behind it.

Real uplink in the real controller, real broker with the production configuration, real cloud-sync
with SQLite on the same disk.
"""

import asyncio
import sqlite3
import statistics
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.past import EVENTS_A_DAY, fill
from bench.stage import Stage, staged
from contract import topics
from contract.documents import Ack
from messaging.session import MqttConfig, Session, connect
from simulator import layout

LOOK_SECONDS = 0.02
LIVE_PRESSES = 8
BETWEEN_PRESSES_SECONDS = 0.5


@dataclass(frozen=True)
class Drain:
    events: int
    """Acked behind the first ack: the backlog, and what happened meanwhile."""
    seconds: float
    """From the centre's first ack to that of the last event."""
    live_seconds: tuple[float, ...]
    """Of presses during the drain: from the key's level change to the ticket's event in the
    centre's table."""
    backlog_left: int
    """How many events the centre had still to get when the last of these presses was there."""
    broker: str

    @property
    def per_second(self) -> float:
        return self.events / self.seconds

    @property
    def live_median_seconds(self) -> float:
        return statistics.median(self.live_seconds) if self.live_seconds else float("nan")


async def measure(disk: Path, events: int, within_seconds: float) -> Drain:
    """Drain at least so many events. Raises ``ProgramFailed`` and ``TimeoutError``."""
    days = -(-events // EVENTS_A_DAY)
    async with staged(disk, windows=6) as stage:
        backlog = await asyncio.to_thread(
            fill, stage.places.journal, layout.HALL, days=days, acked=False
        )
        await stage.broker.start()
        await stage.centre.start()
        async with asyncio.timeout(within_seconds), connect(_as_hall(stage)) as session:
            await session.subscribe(topics.ack(layout.HALL))
            async with asyncio.TaskGroup() as tasks:
                acks = _Acks()
                listening = tasks.create_task(acks.listen(session))
                with _Table.opened(stage.places.centre_database) as table:
                    await stage.daemon.start()
                    drain = await _watch(stage, acks, table, backlog)
                listening.cancel()
        return drain


async def _watch(stage: Stage, acks: "_Acks", table: "_Table", backlog: int) -> Drain:
    began = acks.first_at or asyncio.get_running_loop().time()
    before = acks.first_seq
    live: list[float] = []
    left = backlog
    while len(live) < LIVE_PRESSES and acks.seq < backlog:
        live.append(await _live_event(stage, table, backlog))
        left = backlog - acks.seq
        await asyncio.sleep(BETWEEN_PRESSES_SECONDS)
    while acks.seq < backlog or acks.seq < table.events():
        await asyncio.sleep(LOOK_SECONDS)
    return Drain(
        events=acks.seq - before,
        seconds=acks.at - began,
        live_seconds=tuple(live),
        backlog_left=left,
        broker=stage.plan.kind,
    )


async def _live_event(stage: Stage, table: "_Table", backlog: int) -> float:
    """Take a ticket; seconds until the centre has it in its table."""
    loop = asyncio.get_running_loop()
    before = table.tickets_issued(behind=backlog)
    pressed = loop.time()
    await stage.fittings.dispenser.press("payment")
    while table.tickets_issued(behind=backlog) == before:
        await asyncio.sleep(LOOK_SECONDS)
    return loop.time() - pressed


def _as_hall(stage: Stage) -> MqttConfig:
    """A second client of the hall's user, which may read the acks."""
    user = stage.plan.users[layout.HALL]
    return MqttConfig(
        host="127.0.0.1",
        port=stage.plan.port,
        client_id="bench",
        username=user.name,
        password=user.password,
        protocol=stage.plan.protocol,
    )


class _Acks:
    """What the centre has acknowledged."""

    def __init__(self) -> None:
        self.seq = self.first_seq = 0
        self.at = self.first_at = 0.0

    async def listen(self, session: Session) -> None:
        async for message in session.messages():
            ack = Ack.model_validate_json(message.payload)
            self.seq, self.at = ack.seq, asyncio.get_running_loop().time()
            if not self.first_seq:
                self.first_seq, self.first_at = self.seq, self.at


class _Table:
    """The centre's table of events, looked at from outside."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator["_Table"]:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            yield cls(connection)

    def events(self) -> int:
        """All of the one hall."""
        (events,) = self._connection.execute("SELECT coalesce(sum(events), 0) FROM streams")
        return int(events[0])

    def tickets_issued(self, behind: int) -> int:
        """Behind that seq."""
        (tickets,) = self._connection.execute(
            "SELECT count(*) FROM events WHERE stream = (SELECT max(id) FROM streams)"
            " AND seq > ? AND type = 'hall.ticket.issued.v1'",
            (behind,),
        )
        return int(tickets[0])

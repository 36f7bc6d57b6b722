"""Backlog on a way that takes no large messages."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from edge.journal.journal import DeadLetter
from edge.outbox import BatchSize, Outbox, Pace
from edge.uplink import _Connection
from messaging.session import PublishRefused
from tests.support.session import LocalSession

EVENTS = 300
LARGEST_THAT_PASSES = 5_000


class NarrowWay(LocalSession):
    """Takes nothing larger than it can carry."""

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if len(payload) > LARGEST_THAT_PASSES:
            raise PublishRefused(topic, "packet too large")
        await super().publish(topic, payload, retain=retain)


class Past:
    """A journal with a backlog, and nothing new."""

    epoch = "01JNAB00000000000000000000"
    head = EVENTS
    acked = 0

    async def read(self, after: int, limit: int) -> list[tuple[int, str]]:
        last = min(self.head, after + limit)
        return [(n, json.dumps({"n": n, "text": "x" * 400})) for n in range(after + 1, last + 1)]

    async def save_acked(self, seq: int) -> None: ...

    async def keep_dead_letters(self, letters: Sequence[DeadLetter]) -> None: ...

    async def unsettle(self, lost_events: int) -> None: ...

    async def start_new_epoch(self) -> str:
        raise AssertionError("nobody asked for one")


async def test_a_backlog_arrives_in_smaller_messages_where_large_ones_do_not_pass() -> None:
    session, size = NarrowWay(), BatchSize()
    pace = Pace(resend_after_seconds=0.001, resend_at_most_every_seconds=0.001)
    outbox = Outbox(acked=0, perhaps_sent=0, pace=pace)
    arrived: set[int] = set()

    async def centre() -> None:
        while len(arrived) < EVENTS:
            message = await session.published.get()
            arrived.update(event["n"] for event in json.loads(message.payload))
            contiguous = next(n for n in range(1, EVENTS + 2) if n not in arrived) - 1
            outbox.ack(contiguous, resend=False, now=asyncio.get_running_loop().time())
            connection.ring()
        raise asyncio.CancelledError

    with suppress(asyncio.CancelledError):
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            connection = _Connection(
                hall="hall-a",
                journal=Past(),
                session=session,
                outbox=outbox,
                batch_size=size,
                counts=Counter(),
                tasks=tasks,
            )
            work = [
                tasks.create_task(connection.send_backlog()),
                tasks.create_task(connection.resend_when_due()),
            ]
            with suppress(asyncio.CancelledError):
                await centre()
            for task in work:
                task.cancel()
    assert arrived == set(range(1, EVENTS + 1))


def test_a_message_is_never_smaller_than_an_event_and_grows_again_with_success() -> None:
    size = BatchSize()
    for _ in range(20):
        size.note(arrived=False)
    assert size.bytes == BatchSize.SMALLEST
    for _ in range(20):
        size.note(arrived=True)
    assert size.bytes == BatchSize.LARGEST

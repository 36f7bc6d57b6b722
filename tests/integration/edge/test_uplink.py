"""The uplink against a real broker and a small centre that keeps, acks, sulks and forgets."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from contract import topics
from contract.commands import (
    CallNext,
    CentralCommand,
    CentralReply,
    Command,
    Pause,
    Refusal,
    Reopen,
)
from contract.documents import Ack, HallReport
from contract.envelope import CloudEvent
from contract.events import DeviceChanged, HallEvent
from contract.names import Presence
from edge.clock import ManualClock
from edge.journal import Journal, JournalFull
from edge.journal.database import newest_dead_letters
from edge.outbox import Pace
from edge.uplink import Uplink
from messaging.session import Session, SessionLost, connect
from tests.support.broker import Broker, running_broker
from tests.support.hall_events import START, called, device, epochs, ulid

HALL = "hall-a"
PATIENCE = 60.0
A_WHILE_SECONDS = 60.0
LONG_AFTER_THE_START = START + timedelta(seconds=A_WHILE_SECONDS)
"""By then, commands of the centre are taken."""
PACE = Pace(resend_after_seconds=0.3, resend_at_most_every_seconds=0.1)


class Centre:
    """Keeps events by epoch and seq, acks what it has without a gap while ``acking``."""

    def __init__(self) -> None:
        self.events: dict[tuple[str, int], CloudEvent] = {}
        self.arrived: list[tuple[str, int, bool]] = []
        """(epoch, seq, in the backlog), every arrival, in order."""
        self.states: list[HallReport] = []
        self.replies: list[CentralReply] = []
        self.acking = True
        self.session: Session | None = None
        self._changed = asyncio.Event()

    async def run(self, broker: Broker) -> None:
        """For ever, over all connections."""
        while True:
            with suppress(SessionLost):
                async with connect(broker.client("centre")) as session:
                    await session.subscribe(
                        topics.EVENTS_OF_ALL, topics.BACKLOG_OF_ALL, topics.STATES_OF_ALL,
                        f"{topics.commands(HALL)}/reply",
                    )  # fmt: skip
                    self.session = session
                    await self._listen(session)
            self.session = None
            await asyncio.sleep(0.05)

    async def _listen(self, session: Session) -> None:
        async for message in session.messages():
            if message.topic == topics.events(HALL):
                await self._take([json.loads(message.payload)], in_backlog=False)
            elif message.topic == topics.backlog(HALL):
                await self._take(json.loads(message.payload), in_backlog=True)
            elif message.topic == topics.state(HALL):
                self.states.append(HallReport.model_validate_json(message.payload))
            else:
                self.replies.append(CentralReply.model_validate_json(message.payload))
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _take(self, bodies: list[dict[str, Any]], *, in_backlog: bool) -> None:
        for body in bodies:
            event = CloudEvent.model_validate(body)
            assert event.hall == HALL
            self.arrived.append((event.epoch, event.seq, in_backlog))
            before = self.events.setdefault((event.epoch, event.seq), event)
            assert before == event, "two events under one number"
        if self.acking:
            await self.ack(event.epoch)

    def seq(self, epoch: str) -> int:
        """Up to here nothing is missing."""
        seq = 0
        while (epoch, seq + 1) in self.events:
            seq += 1
        return seq

    async def ack(self, epoch: str, seq: int | None = None, *, resend: bool = False) -> None:
        ack = Ack(epoch=epoch, seq=self.seq(epoch) if seq is None else seq, resend=resend)
        await self.publish(topics.ack(HALL), ack.model_dump_json().encode(), retain=True)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        await self.until(lambda: self.session is not None)
        assert self.session is not None
        with suppress(SessionLost):
            await self.session.publish(topic, payload, retain=retain)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that arrives here, or that what arrives here brings about."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await self._changed.wait()

    @property
    def details(self) -> list[str]:
        """What the events of the newest epoch say, in their order."""
        newest = self.arrived[-1][0]
        events = sorted((seq, event) for (epoch, seq), event in self.events.items()
                        if epoch == newest)  # fmt: skip
        return [event.data["detail"] for _, event in events]


class Hall:
    """A journal and its uplink."""

    def __init__(self, path: Path, broker: Broker, pace: Pace = PACE) -> None:
        self.path = path
        self.broker = broker
        self.pace = pace
        self.clock = ManualClock(START)
        self.commands: list[Command] = []
        self.lost_events: list[int] = []
        """As often as the centre had events that the journal had not, so many."""
        self.epochs_then: list[str] = []
        self.refuses_old_copy = 0
        """So many times, as a journal that is held does."""
        self.written = 0
        self.new_epoch = epochs()
        self.heartbeat_seconds = 15.0
        self.protocol = 5
        self.bug: Exception | None = None
        """What goes wrong when the hall is asked how it is."""

    async def leave_out_numbers(self) -> bool:
        assert self.journal.pending is not None
        self.lost_events.append(self.journal.pending.lost_events)
        self.epochs_then.append(self.journal.epoch)
        await self.journal.append([device("numbers left out")])
        return len(self.lost_events) > self.refuses_old_copy

    async def settle(self) -> None:
        await self.journal.settle()

    async def submit(self, command: Command) -> Sequence[HallEvent] | Refusal:
        self.commands.append(command)
        return (called(1, 3),)

    def document(self) -> HallReport:
        if self.bug is not None:
            raise self.bug
        return HallReport(
            hall=HALL,
            presence=Presence.ONLINE,
            epoch=self.journal.epoch,
            head=self.journal.head,
            acked=self.journal.acked,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self.with_journal():
            task = asyncio.create_task(self.uplink.run())
            try:
                yield
            finally:
                await stopped(task)
                assert not self.uplink.connected

    @asynccontextmanager
    async def with_journal(self) -> AsyncIterator[None]:
        self.journal = await Journal.open(self.path, hall=HALL, new_epoch=self.new_epoch)
        self.uplink = Uplink(
            hall=HALL,
            journal=self.journal,
            mqtt=self.broker.client(HALL, protocol=self.protocol),
            state_document=self.document,
            submit=self.submit,
            old_copy=self,
            clock=self.clock,
            random=Random(1),
            heartbeat_seconds=self.heartbeat_seconds,
            pace=self.pace,
        )
        try:
            yield
        finally:
            await self.journal.close()

    async def happen(self, count: int = 1) -> None:
        """So many events, one append, numbered in ``detail``."""
        events: list[DeviceChanged] = [device(str(self.written + n)) for n in range(count)]
        self.written += count
        await self.journal.append(events)
        self.uplink.notify()

    def all_acked(self) -> bool:
        return self.journal.acked == self.journal.head


async def stopped(task: "asyncio.Task[None]") -> None:
    """Stop an uplink. One that has ended by itself fails the test with what ended it."""
    if task.done():
        await task
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with running_broker(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
async def centre(broker: Broker) -> AsyncIterator[Centre]:
    centre = Centre()
    task = asyncio.create_task(centre.run(broker))
    await centre.until(lambda: centre.session is not None)
    yield centre
    if task.done():
        await task  # it failed: say why
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.fixture
def hall(tmp_path: Path, broker: Broker) -> Hall:
    return Hall(tmp_path / "journal.db", broker)


def assert_all_arrived(hall: Hall, centre: Centre) -> None:
    assert centre.details == [str(n) for n in range(hall.written)]


async def test_a_live_event_arrives_one_by_one_and_the_ack_moves_the_cursor(
    hall: Hall, centre: Centre
) -> None:
    async with hall.running():
        await centre.until(lambda: hall.uplink.connected)
        for n in range(1, 21):
            await hall.happen()
            await centre.until(lambda n=n: hall.journal.acked == n)  # type: ignore[misc]
        assert centre.arrived == [(hall.journal.epoch, seq, False) for seq in range(1, 21)]
    assert_all_arrived(hall, centre)


async def test_a_backlog_of_5000_arrives_and_live_events_overtake_it(
    hall: Hall, centre: Centre
) -> None:
    async with hall.with_journal():
        for _ in range(50):
            await hall.happen(100)
    centre.acking = False  # the drain stops at its bound until the centre answers
    async with hall.running():
        await centre.until(lambda: len(centre.events) >= 1000)
        await hall.happen()
        await centre.until(lambda: (hall.journal.epoch, 5001) in centre.events)
        assert len(centre.events) <= 2001  # 3,000 of the backlog are still to come
        centre.acking = True
        await centre.ack(hall.journal.epoch)
        await centre.until(hall.all_acked)
    assert_all_arrived(hall, centre)


async def test_a_centre_that_never_acks_is_not_flooded(hall: Hall, centre: Centre) -> None:
    centre.acking = False
    async with hall.with_journal():
        await hall.happen(1000)
    hall.pace = Pace(
        batch_events=50,
        unconfirmed_events=200,
        probe_events=50,
        resend_after_seconds=0.1,
        resend_ceiling_seconds=0.2,
    )
    async with hall.running():
        await centre.until(lambda: hall.uplink.counters().get("uplink_resends", 0) >= 4)
        assert hall.journal.acked == 0
        assert len(centre.events) == 200
        resent = len(centre.arrived) - 200
        assert resent <= 50 * hall.uplink.counters()["uplink_resends"]
        centre.acking = True
        await centre.until(hall.all_acked)
    assert_all_arrived(hall, centre)


async def test_a_late_ack_is_as_good_as_an_early_one(hall: Hall, centre: Centre) -> None:
    centre.acking = False
    hall.pace = Pace()  # no resend within the test
    async with hall.running():
        await centre.until(lambda: hall.uplink.connected)
        await hall.happen(50)
        await centre.until(lambda: len(centre.events) == 50)
        for seq in (10, 30, 20, 50):
            await centre.ack(hall.journal.epoch, seq)
        await centre.until(hall.all_acked)
        assert hall.uplink.counters().get("uplink_resends", 0) == 0
    assert len(centre.arrived) == 50


async def test_the_cursor_never_goes_back_and_outlives_a_restart(
    hall: Hall, centre: Centre
) -> None:
    async with hall.running():
        await centre.until(lambda: hall.uplink.connected)
        await hall.happen(50)
        await centre.until(hall.all_acked)
        await centre.ack(hall.journal.epoch, 7)
        await hall.happen()
        await centre.until(hall.all_acked)
    arrived = len(centre.arrived)
    async with hall.running():
        await centre.until(lambda: hall.uplink.connected)
        assert hall.journal.acked == 51
        await hall.happen()
        await centre.until(hall.all_acked)
    assert len(centre.arrived) == arrived + 1  # nothing was sent again


async def test_the_centre_asks_for_a_resend_and_gets_it(hall: Hall, centre: Centre) -> None:
    async with hall.running():
        await centre.until(lambda: hall.uplink.connected)
        await hall.happen(300)
        await centre.until(hall.all_acked)
        for seq in range(101, 301):  # the centre was restored from its own old copy
            del centre.events[hall.journal.epoch, seq]
        await centre.ack(hall.journal.epoch, resend=True)
        await centre.until(lambda: len(centre.events) == 300)
        assert hall.journal.acked == 300
    assert_all_arrived(hall, centre)


async def test_a_broker_killed_in_mid_stream_costs_nothing(
    hall: Hall, centre: Centre, broker: Broker
) -> None:
    async with hall.running():
        await centre.until(lambda: hall.uplink.connected)
        for _ in range(4):
            stream = asyncio.create_task(_stream(hall, 400))
            target = len(centre.events) + 100
            await centre.until(lambda target=target: len(centre.events) >= target)  # type: ignore[misc]
            await broker.kill9()
            await stream
            await broker.start()
        await centre.until(hall.all_acked)
    assert hall.written == 1600
    assert_all_arrived(hall, centre)


async def _stream(hall: Hall, count: int) -> None:
    for _ in range(count):
        await hall.happen()
        await asyncio.sleep(0)


async def test_a_long_time_without_a_broker_grows_nothing_but_the_journal(
    hall: Hall, centre: Centre, broker: Broker
) -> None:
    await broker.stop()
    async with hall.running():
        for _ in range(50):
            await hall.happen(100)
        await centre.until(lambda: hall.uplink.counters()["uplink_connections_lost"] >= 3)
        assert len(asyncio.all_tasks()) < 10
        await broker.start()
        await centre.until(hall.all_acked)
    assert_all_arrived(hall, centre)


async def test_a_frozen_broker_is_given_up_and_nothing_is_lost(
    hall: Hall, centre: Centre, broker: Broker
) -> None:
    async with hall.running():
        await centre.until(lambda: hall.uplink.connected)
        await hall.happen(10)
        await centre.until(hall.all_acked)
        broker.freeze()
        await hall.happen(10)
        await centre.until(lambda: not hall.uplink.connected)
        broker.thaw()
        await centre.until(hall.all_acked)
    assert_all_arrived(hall, centre)


async def test_a_hole_in_the_backlog_does_not_stop_live_events(hall: Hall, centre: Centre) -> None:
    async with hall.with_journal():
        await hall.happen(500)
    with closing(sqlite3.connect(hall.path)) as database, database:
        database.execute("DELETE FROM events WHERE position = 250")
    async with hall.running():
        await centre.until(lambda: hall.uplink.counters().get("uplink_journal_errors") == 1)
        await hall.happen()
        await centre.until(lambda: (hall.journal.epoch, 501) in centre.events)
        assert hall.uplink.connected


async def test_presence_is_online_then_stopped_at_a_clean_stop(hall: Hall, centre: Centre) -> None:
    async with hall.running():
        await centre.until(lambda: bool(centre.states))
        assert centre.states[0].presence is Presence.ONLINE
        assert centre.states[0].epoch == hall.journal.epoch
    await centre.until(lambda: centre.states[-1].presence is Presence.STOPPED)
    assert Presence.LOST not in {state.presence for state in centre.states}


async def test_a_hall_that_dies_is_lost_by_its_will(hall: Hall, centre: Centre) -> None:
    async with hall.with_journal():
        task = asyncio.create_task(hall.uplink.run())
        await centre.until(lambda: hall.uplink.connected)
        intruder = connect(hall.broker.client("hall-b", client_id=HALL))
        # Another client of the same id: the broker cuts the first off, as a dead line would.
        with suppress(SessionLost):
            async with intruder:
                await centre.until(lambda: centre.states[-1].presence is Presence.LOST)
        await centre.until(lambda: centre.states[-1].presence is Presence.ONLINE)
        await stopped(task)


async def kept_state(broker: Broker) -> HallReport:
    """What somebody is told who comes only now."""
    async with (
        connect(broker.client("centre", client_id="late")) as late,
        asyncio.timeout(10),
    ):
        await late.subscribe(topics.state(HALL))
        message = await anext(late.messages())
    assert message.retain
    return HallReport.model_validate_json(message.payload)


async def test_who_comes_later_is_told_how_the_hall_is_or_was(hall: Hall, centre: Centre) -> None:
    async with hall.running():
        await centre.until(lambda: hall.uplink.connected)
        assert (await kept_state(hall.broker)).presence is Presence.ONLINE
    assert (await kept_state(hall.broker)).presence is Presence.STOPPED


async def test_who_comes_later_is_told_that_the_hall_is_lost(hall: Hall, centre: Centre) -> None:
    async with hall.with_journal():
        task = asyncio.create_task(hall.uplink.run())
        await centre.until(lambda: hall.uplink.connected)
        hall.bug = ZeroDivisionError("no goodbye is said")
        hall.uplink.notify()
        with pytest.raises(ZeroDivisionError):
            await task
    await centre.until(lambda: centre.states[-1].presence is Presence.LOST)
    assert (await kept_state(hall.broker)).presence is Presence.LOST


async def test_the_state_is_sent_as_heartbeat_and_on_change_but_not_too_often(
    hall: Hall, centre: Centre
) -> None:
    hall.heartbeat_seconds = 0.3
    loop = asyncio.get_running_loop()
    async with hall.running():
        began = loop.time()
        await centre.until(lambda: len(centre.states) >= 4)  # with nothing happening
        before = len(centre.states)
        for _ in range(200):
            await hall.happen()
        await centre.until(lambda: centre.states[-1].head == 200)
        at_most = (loop.time() - began) / 0.25 + 2
        assert before < len(centre.states) <= at_most


async def test_garbage_acks_and_acks_of_other_epochs_are_counted_and_ignored(
    hall: Hall, centre: Centre
) -> None:
    async with hall.running():
        await centre.until(lambda: hall.uplink.connected)
        centre.acking = False
        await hall.happen(5)
        await centre.until(lambda: len(centre.events) == 5)
        for payload in (b"", b"\xff", b"{}", b'{"epoch": 1}', b"x" * 5000, b"[" * 900):
            await centre.publish(topics.ack(HALL), payload)
        await centre.ack(ulid(555), 5)
        await centre.until(lambda: "uplink_acks_of_another_epoch" in hall.uplink.counters())
        counters = hall.uplink.counters()
        assert counters["uplink_acks_malformed"] == 6
        assert counters["uplink_acks_of_another_epoch"] == 1
        assert hall.journal.acked == 0
        assert hall.uplink.connected


async def test_what_does_not_validate_is_kept_aside_with_the_reason_and_blocks_nothing(
    hall: Hall, centre: Centre
) -> None:
    async with hall.running():
        await centre.until(lambda: hall.uplink.connected)
        await centre.publish(topics.ack(HALL), b'{"epoch": 1}')
        await centre.publish(topics.ack(HALL), b"x" * 5000)
        await centre.publish(topics.command(HALL, "rm -rf"), b"do it")
        await centre.publish(topics.command(HALL, ulid(43)), b'{"id": "' + b"\xff")
        await hall.happen(5)
        await centre.until(hall.all_acked)
        await centre.until(lambda: len(centre.replies) == 1)
        counters = hall.uplink.counters()
        assert counters["uplink_dead_letters"] == 4
        assert counters["uplink_acks_malformed"] == 2
        assert counters["uplink_commands_malformed"] == 2
    letters = newest_dead_letters(hall.path, 20)
    assert [(topic, payload) for _, topic, _, payload in letters] == [
        (topics.ack(HALL), b'{"epoch": 1}'),
        (topics.ack(HALL), b"x" * 4096),
        (topics.command(HALL, "rm -rf"), b"do it"),
        (topics.command(HALL, ulid(43)), b'{"id": "\xff'),
    ]
    reasons = [reason for _, _, reason, _ in letters]
    assert reasons[0] == "epoch: Input should be a valid string"
    assert reasons[1] == "longer than 1024 bytes"
    assert reasons[2] == "its id, in the topic, is no ULID"
    assert reasons[3].startswith("Invalid JSON")


async def test_a_journal_put_back_from_an_old_copy_sends_what_is_new_under_a_new_epoch(
    hall: Hall, centre: Centre, tmp_path: Path
) -> None:
    async with hall.running():
        await centre.until(lambda: hall.uplink.connected)
        await hall.happen(100)
        await centre.until(hall.all_acked)
    copy = hall.path.read_bytes()
    async with hall.running():
        await hall.happen(50)
        await centre.until(hall.all_acked)
        old_epoch = hall.journal.epoch
    hall.path.write_bytes(copy)
    hall.refuses_old_copy = 1
    async with hall.running():
        # More than the centre has, before it can tell: the connection takes longer than this.
        await hall.journal.append([device(f"after the return {n}") for n in range(90)])
        assert (hall.journal.epoch, hall.journal.head) == (old_epoch, 190)
        await centre.until(lambda: hall.journal.epoch != old_epoch and hall.all_acked())
        new_epoch = hall.journal.epoch
        assert hall.journal.head == 92, "also what was written of the numbers, twice"
        await hall.journal.append([device("and goes on")])
        hall.uplink.notify()
        await centre.until(lambda: hall.all_acked() and hall.journal.head == 93)
        assert not hall.journal.was_put_back, "it is settled"
        assert hall.uplink.counters()["uplink_new_epochs"] == 1
        # The first time they could not be left out: no epoch begins then, and it is tried again.
        assert hall.lost_events == [50, 50]
        assert hall.epochs_then == [old_epoch, old_epoch], "a crash between must not forget them"
    left_out = ["numbers left out"] * 2
    returned = [f"after the return {n}" for n in range(90)]
    assert centre.details == [*returned, *left_out, "and goes on"]
    # What the centre knew before is untouched.
    assert centre.seq(old_epoch) == 150
    assert centre.seq(new_epoch) == 93


async def test_answers_about_an_epoch_that_was_left_are_no_sign_of_a_second_controller(
    hall: Hall, centre: Centre, caplog: pytest.LogCaptureFixture
) -> None:
    async with hall.running():
        await centre.until(lambda: hall.uplink.connected)
        await hall.happen(5)
        await centre.until(hall.all_acked)
        left = hall.journal.epoch
        await centre.ack(left, 10**6)
        await centre.until(lambda: hall.journal.epoch != left and hall.all_acked())
        before = hall.uplink.counters().get("uplink_acks_of_another_epoch", 0)
        await centre.ack(left, 7)
        await centre.until(
            lambda: hall.uplink.counters().get("uplink_acks_of_another_epoch", 0) > before
        )
        assert "another controller" not in caplog.text


async def test_what_the_centre_found_out_is_not_forgotten_by_a_start(
    hall: Hall, centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image of the card was put back. Until the new epoch can begin the hall works on, and has
    as many events as the centre in the end."""
    lock = hall.path.with_name(f"{hall.path.name}.lock")
    async with hall.running():
        await centre.until(lambda: hall.uplink.connected)
        await hall.happen(20)
        await centre.until(hall.all_acked)
    image = hall.path.read_bytes(), lock.read_bytes()
    async with hall.running():
        await hall.happen(4)
        await centre.until(hall.all_acked)
        old_epoch = hall.journal.epoch
    hall.path.write_bytes(image[0])
    lock.write_bytes(image[1])
    tried = asyncio.Queue[None]()

    async def full(_: Journal) -> str:
        tried.put_nowait(None)
        raise JournalFull("no room to renumber")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "start_new_epoch", full)
        async with hall.running():
            assert not hall.journal.was_put_back
            async with asyncio.timeout(60):
                await tried.get()
                await hall.journal.append([device(f"after the return {n}") for n in range(10)])
                await tried.get()
            assert set(hall.lost_events) == {4}
            assert hall.journal.acked == 20, "no answer about another history's events counts"
            assert hall.uplink.counters()["uplink_connects"] == 1, "nothing is sent until then"
            head = hall.journal.head
    async with hall.with_journal():
        assert hall.journal.pending is not None
        assert hall.journal.pending.lost_events == 4
        await hall.journal.start_new_epoch()
        bodies = [body for _, body in await hall.journal.read(0, 100)]
    assert len(bodies) == head - 20, "all that the centre has not heard of, under the new epoch"
    assert not any(old_epoch in body for body in bodies)


async def test_a_centre_that_errs_can_not_have_the_journal_renumbered_for_ever(
    hall: Hall, centre: Centre
) -> None:
    async with hall.running():
        await centre.until(lambda: hall.uplink.connected)
        await hall.happen(5)
        await centre.until(hall.all_acked)
        for times in (1, 2, 3):
            await centre.ack(hall.journal.epoch, 10**6)
            await centre.until(lambda times=times: impossible_acks(hall) == times)  # type: ignore[misc]
            await centre.until(lambda: hall.uplink.counters().get("uplink_new_epochs") == 1)
            await centre.until(lambda: hall.uplink.connected)
        await hall.happen()
        await centre.until(lambda: hall.journal.head == hall.journal.acked == 2)
        assert len(hall.lost_events) == 1, "nor all its numbers left out"


def impossible_acks(hall: Hall) -> int:
    return hall.uplink.counters().get("uplink_acks_impossible", 0)


async def test_a_command_of_the_centre_is_done_and_answered(hall: Hall, centre: Centre) -> None:
    async with hall.running():
        await centre.until(lambda: hall.uplink.connected)
        hall.clock.advance(A_WHILE_SECONDS)
        command = CentralCommand(
            id=ulid(42),
            issued_at=LONG_AFTER_THE_START,
            expires_at=LONG_AFTER_THE_START + timedelta(seconds=30),
            body=CallNext(window=3),
        )
        payload = command.model_dump_json().encode()
        await centre.publish(topics.command(HALL, command.id), payload)
        await centre.publish(topics.command(HALL, command.id), payload)
        await centre.publish(topics.command(HALL, ulid(43)), b"{}")
        await centre.until(lambda: len(centre.replies) == 3)
        assert hall.commands == [CallNext(window=3)]
        assert centre.replies[0] == CentralReply(
            id=command.id, accepted=True, event_types=("hall.ticket.called.v1",)
        )
        refusals = [reply.refusal.reason for reply in centre.replies[1:] if reply.refusal]
        assert refusals == ["replayed", "malformed"]


@pytest.mark.parametrize("protocol", [5, 311])
async def test_thousands_of_commands_at_once_are_all_answered_while_events_go_on(
    hall: Hall, centre: Centre, protocol: int
) -> None:
    count = 5000
    hall.protocol = protocol
    bodies: list[Command] = [Pause(window=3), Reopen(window=3)]
    sent = [
        CentralCommand(
            id=ulid(number),
            issued_at=LONG_AFTER_THE_START,
            expires_at=LONG_AFTER_THE_START + timedelta(minutes=5),
            body=bodies[number % 2],
        )
        for number in range(count)
    ]
    async with hall.running():
        await centre.until(lambda: hall.uplink.connected)
        hall.clock.advance(A_WHILE_SECONDS)
        burst = asyncio.gather(
            *(
                centre.publish(topics.command(HALL, each.id), each.model_dump_json().encode())
                for each in sent
            )
        )
        for share in range(1, 6):
            await centre.until(lambda share=share: len(centre.replies) >= share * count / 5)  # type: ignore[misc]
            await hall.happen()
        await burst
        await centre.until(hall.all_acked)
        assert [reply.id for reply in centre.replies] == [each.id for each in sent]
        assert all(reply.accepted for reply in centre.replies)
        assert hall.commands == [each.body for each in sent]
        assert hall.uplink.counters()["uplink_connects"] == 1
    assert_all_arrived(hall, centre)


async def test_a_wrong_password_is_tried_again_patiently_and_heals(
    hall: Hall, centre: Centre, broker: Broker
) -> None:
    async with hall.with_journal():
        await hall.happen(3)
        right = hall.uplink._mqtt
        hall.uplink._mqtt = broker.client("hall-b", client_id=HALL)  # may not write as hall-a
        task = asyncio.create_task(hall.uplink.run())
        await centre.until(lambda: hall.uplink.counters().get("uplink_connects", 0) >= 1)
        await centre.until(lambda: any("refused" in name for name in hall.uplink.counters()))
        assert hall.journal.acked == 0
        hall.uplink._mqtt = right
        await broker.kill9()
        await broker.start()
        await centre.until(hall.all_acked)
        await stopped(task)
    assert_all_arrived(hall, centre)

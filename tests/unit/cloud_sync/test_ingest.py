"""Ingest over a session without a broker, into a real database."""

import asyncio
import json
import sqlite3
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from cloud_sync import ingest
from cloud_sync.ingest import Answers, Epochs, Ingest
from cloud_sync.reading import Received
from cloud_sync.store import Committed, Position, Store
from cloud_sync.store.sqlite import SqliteStore
from contract import topics
from contract.documents import Ack, HallReport
from contract.names import Presence
from messaging.session import Message, SessionLost
from tests.support.hall_day import EPOCH, OTHER_EPOCH, HallDay, backlog, envelopes
from tests.support.hall_events import ulid
from tests.support.session import LocalSession
from tests.support.virtual_time import in_virtual_time

TEXTS = envelopes(HallDay(2).whole(30), "hall-a")


@pytest.fixture
async def store(tmp_path: Path) -> Any:
    opened = await SqliteStore.open(tmp_path / "centre.db")
    yield opened
    await opened.close()


class Bench:
    """An ingest at work, and what it told others."""

    def __init__(self, store: Store) -> None:
        self.session = LocalSession()
        self.seconds = 0.0
        self.states: list[tuple[HallReport, bool]] = []
        self.committed: list[str] = []
        self.most_pending = 0
        """Events that were read ahead of a commit."""
        self.retired: asyncio.Queue[str] = asyncio.Queue()
        self.ingest = Ingest(
            store,
            monotonic=lambda: self.seconds,
            now=lambda: datetime(2026, 3, 2, tzinfo=UTC),
            random=Random(1),
            on_state=lambda state, retained: self.states.append((state, retained)),
            on_commit=self._on_commit,
            on_retired=self.retired.put_nowait,
        )

    def _on_commit(self, halls: Iterable[str]) -> None:
        self.committed += halls
        self.most_pending = max(self.most_pending, len(self.ingest._events))

    async def ack(
        self, wanted: Callable[[Ack], bool] = lambda _: True, *, retained: bool = True
    ) -> tuple[str, Ack]:
        """The next acknowledgement that is wanted: (topic, what it says)."""
        async with asyncio.timeout(60):
            while True:
                message: Message = await self.session.published.get()
                assert message.retain == retained
                ack = Ack.model_validate_json(message.payload)
                if wanted(ack):
                    return message.topic, ack


@asynccontextmanager
async def at_work(store: Store) -> AsyncIterator[Bench]:
    bench = Bench(store)
    subscribed = asyncio.Event()
    tasks = [
        asyncio.create_task(bench.ingest.run(bench.session, subscribed.set)),
        asyncio.create_task(bench.ingest.commit_all()),
    ]
    await subscribed.wait()
    try:
        yield bench
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_at_the_start_every_hall_is_asked_to_send_again(store: SqliteStore) -> None:
    async with at_work(store) as bench:
        bench.session.arrive(topics.backlog("hall-a"), backlog(TEXTS[:5]))
        await bench.ack()
    async with at_work(store) as bench:
        assert await bench.ack() == ("halls/hall-a/v1/ack", Ack(epoch=EPOCH, seq=5, resend=True))


async def test_what_is_pending_is_committed_together_and_answered_once(store: SqliteStore) -> None:
    async with at_work(store) as bench:
        for text in TEXTS[:100]:
            bench.session.arrive(topics.events("hall-a"), text.encode())
        await bench.ack(lambda ack: ack.seq == 100)
        assert bench.ingest.counters["events"] == 100
        assert bench.ingest.counters["commits"] < 10
        assert set(bench.committed) == {"hall-a"}


async def test_a_hall_that_makes_epochs_up_is_not_listened_to_and_others_are(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with at_work(store) as bench:
        event = json.loads(TEXTS[0])
        made_up = [
            json.dumps(event | {"epoch": epoch, "id": f"{epoch}.1"})
            for epoch in (ulid(n) for n in range(1, 400))
        ]
        send = bench.session.arrive
        send("halls/hall-a/v1/backlog", backlog(made_up))
        send("halls/hall-b/v1/backlog", backlog(envelopes(HallDay(2).whole(3), "hall-b")))
        await bench.ack(lambda ack: ack.epoch == EPOCH)
        positions = [each async for each in _streams(store)]
        assert positions.count("hall-a") == ingest.MAX_EPOCHS
        assert bench.ingest.counters["epochs_refused"] == len(made_up) - ingest.MAX_EPOCHS
        # An hour later it is taken: whoever has it has sent it again.
        bench.seconds = ingest.EPOCHS_SECONDS
        send("halls/hall-a/v1/backlog", backlog(made_up[-1:]))
        await bench.ack(lambda ack: ack.epoch == ulid(399))
    assert caplog.text.count("more than 10 epochs within an hour") == 1


def of_epoch(epoch: str) -> str:
    """The first event of a journal that is new."""
    return TEXTS[0].replace(EPOCH, epoch)


async def test_an_epoch_that_is_known_goes_on_whatever_epochs_are_made_up_beside_it(
    store: SqliteStore,
) -> None:
    async with at_work(store) as bench:
        bench.session.arrive(topics.events("hall-a"), TEXTS[0].encode())
        await bench.ack()
    async with at_work(store) as bench:  # a centre that has just started remembers nothing else
        await bench.ack(lambda ack: ack.resend)
        for seq, made_up in enumerate((range(1, 50), range(50, 100), range(100, 150)), start=2):
            for number in made_up:
                bench.session.arrive(topics.events("hall-a"), of_epoch(ulid(number)).encode())
            bench.session.arrive(topics.events("hall-a"), TEXTS[seq - 1].encode())
            await bench.ack(lambda ack, seq=seq: (ack.epoch, ack.seq) == (EPOCH, seq))
            bench.seconds += ingest.EPOCHS_SECONDS
        assert bench.ingest.counters["epochs_refused"] == 149 - 3 * ingest.MAX_EPOCHS


def test_halls_that_somebody_makes_up_are_not_remembered_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ingest, "MAX_SENDERS", 100)
    epochs = Epochs(lambda: 0.0)
    tracemalloc.start()
    try:
        remembered = []
        for number in range(1, 2_001):
            assert epochs.may_begin(f"hall-{number}", EPOCH)
            if number % 100 == 0:
                remembered.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert remembered[-1] < 3 * remembered[0]


class FullAtFirst(SqliteStore):
    """Its first transactions fail at their end."""

    failures = 3

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        async with super()._transaction():
            yield
            if self.failures:
                self.failures -= 1
                raise sqlite3.OperationalError("database or disk is full")


async def test_a_full_disk_uses_up_no_epochs(tmp_path: Path) -> None:
    store = await FullAtFirst.open(tmp_path / "centre.db")
    try:
        async with at_work(store) as bench:
            for number in range(ingest.MAX_EPOCHS):
                bench.session.arrive(topics.events("hall-a"), of_epoch(ulid(number)).encode())
            for _ in range(ingest.MAX_EPOCHS):
                await bench.ack()
            assert bench.ingest.counters["database_errors"] == 3
            assert bench.ingest.counters["epochs_refused"] == 0
    finally:
        await store.close()


async def _streams(store: SqliteStore) -> AsyncIterator[str]:
    """The hall of each stream."""
    async with store._db.execute("SELECT name FROM streams JOIN halls ON halls.id = hall") as rows:
        async for (name,) in rows:
            yield name


async def test_a_hall_that_sends_nonsense_without_end_does_not_fill_the_log(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with at_work(store) as bench:
        faulty = [text.replace('"data":{', '"data":{"at":7,"was":{', 1) + "}" for text in TEXTS]
        for n in range(1000):
            bench.session.arrive(topics.events("hall-b"), b"%d" % n)
            bench.session.arrive(topics.events("hall-c"), b"%d" % n)
            bench.session.arrive(topics.events("hall-a"), faulty[n % len(faulty)].encode())
        async with asyncio.timeout(60):
            while bench.ingest.counters["dead_letters"] < 2000:
                await asyncio.sleep(0.01)
    assert bench.ingest.counters["faults"] == 1000
    for sender in (topics.events("hall-b"), topics.events("hall-c"), "hall-a"):
        said = [record.getMessage() for record in caplog.records if sender in record.getMessage()]
        assert 10 <= len(said) <= 12, said  # 1, 2, 4 … 512, and the conflicts of hall-a once more
        assert any("(512 so far)" in line for line in said)


async def test_a_late_event_of_an_old_epoch_is_answered_for_its_own_epoch(
    store: SqliteStore,
) -> None:
    new = envelopes(HallDay(3).whole(1), "hall-a", epoch=OTHER_EPOCH)
    async with at_work(store) as bench:
        bench.session.arrive(topics.backlog("hall-a"), backlog(TEXTS[:3]))
        await bench.ack()
        bench.session.arrive(topics.backlog("hall-a"), backlog(new[:2]))
        assert (await bench.ack())[1] == Ack(epoch=OTHER_EPOCH, seq=2)
        bench.session.arrive(topics.events("hall-a"), TEXTS[3].encode())
        assert (await bench.ack())[1] == Ack(epoch=EPOCH, seq=4)


async def test_an_epoch_that_the_hall_has_left_is_not_asked_for_and_overwrites_no_answer(
    store: SqliteStore,
) -> None:
    new = envelopes(HallDay(3).whole(1), "hall-a", epoch=OTHER_EPOCH)
    state = HallReport(hall="hall-a", presence=Presence.ONLINE, epoch=OTHER_EPOCH)
    async with at_work(store) as bench:
        bench.session.arrive(topics.backlog("hall-a"), backlog([*TEXTS[:3], TEXTS[5]]))
        assert (await bench.ack())[1] == Ack(epoch=EPOCH, seq=3)
        bench.session.arrive(topics.state("hall-a"), state.model_dump_json().encode(), retain=True)
        bench.session.arrive(topics.backlog("hall-a"), backlog(new[:2]))
        assert (await bench.ack())[1] == Ack(epoch=OTHER_EPOCH, seq=2)
        bench.session.arrive(topics.events("hall-a"), TEXTS[7].encode())
        assert (await bench.ack(retained=False))[1] == Ack(epoch=EPOCH, seq=3)
        bench.seconds += 1000
        # A hall that is asked proves that everybody's turn has come.
        other = [each.replace("hall-a", "hall-b") for each in TEXTS]
        bench.session.arrive(topics.events("hall-b"), other[4].encode())
        await bench.ack()
        bench.seconds += 1000
        assert (await bench.ack())[0] == "halls/hall-b/v1/ack"
        assert bench.ingest.counters["resends"] == 1


async def test_an_epoch_that_the_hall_has_left_is_not_asked_for_in_the_next_session_either(
    store: SqliteStore,
) -> None:
    async with at_work(store) as bench:
        for hall in ("hall-a", "hall-b"):
            texts = [each.replace("hall-a", hall) for each in TEXTS[:3]]
            bench.session.arrive(topics.backlog(hall), backlog(texts))
            await bench.ack()
    state = HallReport(hall="hall-a", presence=Presence.ONLINE, epoch=OTHER_EPOCH)
    bench = Bench(store)
    running = asyncio.create_task(bench.ingest.run(bench.session, lambda: None))
    asked = [(await bench.ack())[0] for _ in range(2)]
    assert asked == ["halls/hall-a/v1/ack", "halls/hall-b/v1/ack"]
    bench.session.arrive(topics.state("hall-a"), state.model_dump_json().encode(), retain=True)
    bench.session.lose()
    with pytest.RaisesGroup(SessionLost):
        await running
    bench.session = LocalSession()
    running = asyncio.create_task(bench.ingest.run(bench.session, lambda: None))
    try:
        assert (await bench.ack())[0] == "halls/hall-b/v1/ack"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_an_answer_asks_again_from_where_it_was_asked_and_from_nowhere_else() -> None:
    session = LocalSession()
    answers = Answers(lambda _hall, _epoch: False)
    asks = Ack(epoch=EPOCH, seq=3, resend=True)
    for hall, came in (("hall-a", 3), ("hall-b", 5)):
        answers.put(hall, asks)
        answers.put(hall, Ack(epoch=EPOCH, seq=came))
    sending = asyncio.create_task(answers.send(session))
    async with asyncio.timeout(10):
        sent = [await session.published.get() for _ in range(2)]
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert {each.topic: Ack.model_validate_json(each.payload) for each in sent} == {
        "halls/hall-a/v1/ack": asks,
        "halls/hall-b/v1/ack": Ack(epoch=EPOCH, seq=5),
    }


async def test_a_gap_is_asked_for_when_its_time_has_come(store: SqliteStore) -> None:
    async with at_work(store) as bench:
        bench.session.arrive(topics.events("hall-a"), TEXTS[4].encode())
        assert (await bench.ack())[1] == Ack(epoch=EPOCH, seq=0)
        bench.seconds += 5
        assert (await bench.ack())[1] == Ack(epoch=EPOCH, seq=0, resend=True)


async def test_a_full_disk_acknowledges_nothing_and_heals(store: SqliteStore) -> None:
    async with at_work(store) as bench:
        async with store._db.execute("PRAGMA page_count") as cursor:
            (pages,) = await cursor.fetchone() or (0,)
        await store._db.execute(f"PRAGMA max_page_count = {pages}")
        bench.session.arrive(topics.backlog("hall-a"), backlog(TEXTS))
        async with asyncio.timeout(10):
            while bench.ingest.counters["database_errors"] < 2:
                await asyncio.sleep(0.01)
        assert bench.session.published.empty()
        assert await store.positions() == ()
        await store._db.execute("PRAGMA max_page_count = 100000")
        assert (await bench.ack())[1] == Ack(epoch=EPOCH, seq=len(TEXTS))


class InMemory:
    """Fills what ``Ingest.commit_all`` needs of ``Store``, without threads: they keep real time."""

    def __init__(self) -> None:
        self.failures = 0
        """So many commits fail from now on."""
        self.tried_at: list[float] = []

    async def commit(self, events: Sequence[Received], *_: Any) -> Committed:
        self.tried_at.append(asyncio.get_running_loop().time())
        if self.failures:
            self.failures -= 1
            raise sqlite3.OperationalError("database or disk is full")
        positions = [Position(each.hall, each.epoch, each.seq, each.seq) for each in events]
        return Committed(tuple(positions), len(events), 0)

    async def positions(self) -> tuple[Position, ...]:
        return ()

    def explain(self, error: sqlite3.Error) -> str:
        return str(error)


@in_virtual_time
async def test_a_database_that_has_healed_is_tried_again_soon_at_its_next_failure() -> None:
    store = InMemory()
    waits = []
    async with at_work(cast("Store", store)) as bench:
        for seq, failures in enumerate((5, 1), start=1):
            store.failures, store.tried_at = failures, []
            bench.session.arrive(topics.events("hall-a"), TEXTS[seq - 1].encode())
            await bench.ack(lambda ack, seq=seq: ack.seq == seq)
            waits.append([after - before for before, after in pairwise(store.tried_at)])
    (*_, longest), (again,) = waits
    assert again <= 0.5 < longest / 4


async def test_no_more_bytes_are_read_ahead_than_there_is_room_for(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 100_000  # 20 MB would be a matter of the disk's speed
    monkeypatch.setattr(ingest, "PENDING_BYTES", room)
    bench = Bench(store)
    big = TEXTS[0].replace('"version":"1"', f'"version":"1{"0" * 9_000}"')
    count = 2 * room // len(big)
    for seq in range(1, count + 1):
        text = big.replace(f"{EPOCH}.1", f"{EPOCH}.{seq}").replace(f"{1:020}", f"{seq:020}")
        bench.session.arrive(topics.events("hall-a"), text.encode())
    reading = asyncio.create_task(bench.ingest.run(bench.session, lambda: None))
    async with asyncio.timeout(60):
        while bench.ingest._room.is_set():
            await asyncio.sleep(0)
    for _ in range(100):  # more turns of the loop than there are messages: nobody reads on
        await asyncio.sleep(0)
    assert sum(len(each.body) for each in bench.ingest._events) >= room
    assert len(bench.ingest._events) <= room // len(big) + 1
    committing = asyncio.create_task(bench.ingest.commit_all())
    await bench.ack(lambda ack: ack.seq == count)
    assert bench.ingest._pending_bytes == 0
    for task in (reading, committing):
        task.cancel()
    await asyncio.gather(reading, committing, return_exceptions=True)


async def test_no_more_dead_letters_are_read_ahead_than_there_is_room_for(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "PENDING_EVENTS", 10)
    bench = Bench(store)
    count = 25
    for _ in range(count):
        bench.session.arrive(topics.events("hall-a"), b"7")
    listening = asyncio.Event()
    reading = asyncio.create_task(bench.ingest.run(bench.session, listening.set))
    await listening.wait()
    for _ in range(100):  # more turns of the loop than there are messages: nobody reads on
        await asyncio.sleep(0)
    assert len(bench.ingest._dead_letters) == 10
    committing = asyncio.create_task(bench.ingest.commit_all())
    async with asyncio.timeout(60):
        while bench.ingest.counters["dead_letters"] < count:
            await asyncio.sleep(0.01)
    for task in (reading, committing):
        task.cancel()
    await asyncio.gather(reading, committing, return_exceptions=True)


async def test_while_more_is_pending_than_there_is_room_for_nothing_is_read(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, of_a_message = 10, 20
    monkeypatch.setattr(ingest, "PENDING_EVENTS", room)
    monkeypatch.setattr(ingest, "GROUP_EVENTS", 3)
    assert len(TEXTS) > 5 * of_a_message
    async with at_work(store) as bench:
        for start in range(0, len(TEXTS), of_a_message):
            some = TEXTS[start : start + of_a_message]
            bench.session.arrive(topics.backlog("hall-a"), backlog(some))
        await bench.ack(lambda ack: ack.seq == len(TEXTS))
        assert 0 < bench.most_pending < room + of_a_message


async def faults(store: SqliteStore) -> list[tuple[int, str]]:
    """(seq, fault)."""
    query = "SELECT seq, fault FROM events WHERE fault IS NOT NULL ORDER BY stream, seq"
    return [tuple(row) for row in await store._db.execute_fetchall(query)]


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ("RAISE(ABORT, 'no ratings today')", "IntegrityError"),
        ("zeroblob(3000000000)", "DataError"),  # larger than SQLite can be made to take
    ],
)
async def test_an_event_that_breaks_a_rule_of_the_database_is_kept_as_it_came(
    store: SqliteStore, rule: str, error: str
) -> None:
    await store._db.execute(
        "CREATE TRIGGER no_rating BEFORE INSERT ON tickets WHEN NEW.rating IS NOT NULL"
        f" BEGIN SELECT {rule}; END"
    )
    rated = [seq for seq, text in enumerate(TEXTS, start=1) if "hall.ticket.rated" in text]
    async with at_work(store) as bench:
        bench.session.arrive(topics.backlog("hall-a"), backlog(TEXTS))
        await bench.ack(lambda ack: ack.seq == len(TEXTS))
        assert bench.ingest.counters["faults"] == len(rated) > 0
    fault = f"could not be taken in: {error}"
    assert await faults(store) == [(seq, fault) for seq in rated]
    assert (await store.facts("hall-a")).finished > 0


class Choking(SqliteStore):
    """Has errors of its own, within the transaction."""

    not_understood = frozenset({7})
    not_kept = frozenset({12})

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        async with super()._transaction():
            yield
            for seq, fault in await self._all("SELECT seq, fault FROM events"):
                if seq in self.not_kept or (seq in self.not_understood and fault is None):
                    raise RecursionError(f"choked on {seq}")


async def test_an_error_of_our_own_is_the_guilty_events_and_nobody_elses(tmp_path: Path) -> None:
    store = await Choking.open(tmp_path / "centre.db")
    other = [each.replace("hall-a", "hall-b") for each in TEXTS]
    try:
        async with at_work(store) as bench:
            bench.session.arrive(topics.backlog("hall-a"), backlog(TEXTS))
            bench.session.arrive(topics.backlog("hall-b"), backlog(other[:5]))
            answers = dict([await bench.ack(), await bench.ack()])
        assert answers == {
            "halls/hall-a/v1/ack": Ack(epoch=EPOCH, seq=11),
            "halls/hall-b/v1/ack": Ack(epoch=EPOCH, seq=5),
        }
        assert await faults(store) == [(7, "could not be taken in: RecursionError")]
        assert await store.totals() == (len(TEXTS) - 1 + 5, 1)
    finally:
        await store.close()


CALLED = next(text for text in TEXTS if "hall.ticket.called" in text)


class Unreadable(SqliteStore):
    """Chokes whenever it reads a certain event."""

    async def _all(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        rows = await super()._all(sql, values)
        if any(CALLED in row for row in rows):
            raise RecursionError("choked")
        return rows


async def test_an_event_that_could_not_be_taken_in_spoils_no_later_event_of_its_ticket(
    tmp_path: Path,
) -> None:
    store = await Unreadable.open(tmp_path / "centre.db")
    ticket = json.loads(CALLED)["subject"]
    seq = TEXTS.index(CALLED) + 1
    assert any(ticket in text for text in TEXTS[seq:])
    try:
        async with at_work(store) as bench:
            bench.session.arrive(topics.backlog("hall-a"), backlog(TEXTS))
            await bench.ack(lambda ack: ack.seq == len(TEXTS))
        assert await faults(store) == [(seq, "could not be taken in: RecursionError")]
    finally:
        await store.close()


async def test_state_documents_are_passed_on_and_bad_ones_kept_aside(store: SqliteStore) -> None:
    state = HallReport(hall="hall-a", presence=Presence.ONLINE)
    async with at_work(store) as bench:
        bench.session.arrive(topics.state("hall-a"), state.model_dump_json().encode(), retain=True)
        bench.session.arrive(topics.state("hall-b"), state.model_dump_json().encode())
        bench.session.arrive(topics.events("hall-a"), TEXTS[0].encode())
        await bench.ack()
        assert bench.states == [(state, True)]
        assert await store.totals() == (1, 1)


async def test_a_hall_whose_state_is_deleted_is_out_of_service_until_it_sends_events(
    store: SqliteStore,
) -> None:
    async with at_work(store) as bench:
        bench.session.arrive(topics.backlog("hall-a"), backlog(TEXTS[:5]))
        bench.session.arrive(topics.state("hall-a"), b"")
        async with asyncio.timeout(10):
            assert await bench.retired.get() == "hall-a"
        assert await store.totals() == (5, 0)  # what it had sent came first
        assert await store.positions() == ()
        bench.session.arrive(topics.events("hall-a"), TEXTS[5].encode())
        await bench.ack(lambda ack: ack.seq == 6)
        assert [each.hall for each in await store.positions()] == ["hall-a"]


async def test_a_hall_out_of_service_is_not_asked_for_what_it_has_skipped(
    store: SqliteStore,
) -> None:
    async with at_work(store) as bench:
        bench.session.arrive(topics.backlog("hall-a"), backlog(TEXTS[1:5]))
        bench.session.arrive(topics.backlog("hall-b"), backlog(in_hall_b(TEXTS[1:5])))
        for _ in range(2):
            await bench.ack()
        bench.session.arrive(topics.state("hall-a"), b"")
        async with asyncio.timeout(10):
            assert await bench.retired.get() == "hall-a"
        bench.seconds += 60
        assert await bench.ack() == ("halls/hall-b/v1/ack", Ack(epoch=EPOCH, seq=0, resend=True))


def in_hall_b(texts: Iterable[str]) -> list[str]:
    return [each.replace("hall-a", "hall-b") for each in texts]


async def test_an_idle_hall_is_asked_for_an_epoch_that_the_database_never_heard_of(
    store: SqliteStore,
) -> None:
    """It is an old copy, perhaps: the hall believes that everything of this epoch is here, and
    sends nothing before something happens there."""
    async with at_work(store) as bench:
        bench.session.arrive(topics.backlog("hall-a"), backlog(TEXTS[:5]))
        await bench.ack()
    async with at_work(store) as bench:
        await bench.ack(lambda ack: ack.resend and ack.seq == 5)
        say = lambda epoch, head: bench.session.arrive(  # noqa: E731
            topics.state("hall-a"),
            HallReport(hall="hall-a", presence=Presence.ONLINE, epoch=epoch, head=head, acked=head)
            .model_dump_json()
            .encode(),
        )
        for _ in range(3):
            say(OTHER_EPOCH, 9)
        assert await bench.ack() == (
            "halls/hall-a/v1/ack",
            Ack(epoch=OTHER_EPOCH, seq=0, resend=True),
        )
        say(EPOCH, 9)  # it goes back to the one before
        assert await bench.ack() == ("halls/hall-a/v1/ack", Ack(epoch=EPOCH, seq=5, resend=True))
        say(OTHER_EPOCH, 0)  # there is nothing in it
        say(EPOCH, 5)
        bench.session.arrive(topics.events("hall-a"), TEXTS[5].encode())
        assert await bench.ack() == ("halls/hall-a/v1/ack", Ack(epoch=EPOCH, seq=6))


async def test_a_machine_without_memory_blames_no_event(tmp_path: Path) -> None:
    class Short(SqliteStore):
        @asynccontextmanager
        async def _transaction(self) -> AsyncIterator[None]:
            async with super()._transaction():
                yield
                raise MemoryError

    store = await Short.open(tmp_path / "centre.db")
    try:
        bench = Bench(store)
        bench.session.arrive(topics.backlog("hall-a"), backlog(TEXTS[:5]))
        bench.session.lose()
        with pytest.RaisesGroup(SessionLost):
            await bench.ingest.run(bench.session, lambda: None)
        with pytest.raises(MemoryError):
            await bench.ingest.commit_all()
        assert await store.totals() == (0, 0), "whoever has them sends them again"
    finally:
        await store.close()


async def test_a_hall_is_retired_once_all_that_it_sent_is_committed(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is committed of a hall puts it in service: later, it would be there for ever."""
    monkeypatch.setattr(ingest, "GROUP_EVENTS", 2)
    async with at_work(store) as bench:
        bench.session.arrive(topics.backlog("hall-a"), backlog(TEXTS[:7]))
        bench.session.arrive(topics.state("hall-a"), b"")
        await bench.ack(lambda ack: ack.seq == 7)
        async with asyncio.timeout(10):
            assert await bench.retired.get() == "hall-a"
        assert await store.positions() == ()


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (topics.events("hall-a"), TEXTS[1].encode()),
        (
            topics.state("hall-a"),
            HallReport(hall="hall-a", presence=Presence.ONLINE).model_dump_json().encode(),
        ),
    ],
    ids=["an event", "its state"],
)
async def test_a_hall_that_sends_something_while_its_retirement_waits_stays_in_service(
    store: SqliteStore, topic: str, payload: bytes
) -> None:
    async with at_work(store) as bench:
        bench.session.arrive(topics.events("hall-a"), TEXTS[0].encode())
        bench.session.arrive(topics.state("hall-a"), b"")
        bench.session.arrive(topic, payload)
        await bench.ack()
        # A hall that is retired proves that everybody's turn has come.
        bench.session.arrive(topics.state("hall-b"), b"")
        async with asyncio.timeout(10):
            assert await bench.retired.get() == "hall-b"
        assert [each.hall for each in await store.positions()] == ["hall-a"]


async def test_a_lost_session_ends_the_run_and_what_was_read_is_still_committed(
    store: SqliteStore,
) -> None:
    bench = Bench(store)
    committing = asyncio.create_task(bench.ingest.commit_all())
    bench.session.arrive(topics.backlog("hall-a"), backlog(TEXTS))
    bench.session.lose()
    with pytest.RaisesGroup(SessionLost):
        await bench.ingest.run(bench.session, lambda: None)
    async with asyncio.timeout(10):
        while bench.ingest.counters["events"] < len(TEXTS):
            await asyncio.sleep(0.01)
    committing.cancel()
    await asyncio.gather(committing, return_exceptions=True)
    assert (await store.positions())[0].contiguous == len(TEXTS)

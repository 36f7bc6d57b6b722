import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cloud_sync.live import PUBLISHED_AT_ONCE, RENEW_SECONDS, Live, satisfaction
from cloud_sync.reading import read_events
from cloud_sync.store.sqlite import SqliteStore
from contract.documents import HallLive, HallReport, NetworkLive
from contract.names import Language, Presence
from messaging.session import Message
from tests.support.hall_day import EPOCH, HallDay, envelopes

NOW = datetime(2026, 3, 2, tzinfo=UTC)


class Recorder:
    """A session that remembers what was published."""

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes]] = []

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        assert retain
        self.published.append((topic, payload))

    async def subscribe(self, *filters: str) -> None:
        raise AssertionError("the live documents need no subscription")

    async def _nothing(self) -> AsyncIterator[Message]:
        return
        yield

    def messages(self) -> AsyncIterator[Message]:
        return self._nothing()

    def take(self) -> tuple[list[HallLive], list[NetworkLive]]:
        halls = [
            HallLive.model_validate_json(payload)
            for topic, payload in self.published
            if topic != "central/v1/network" and payload
        ]
        networks = [
            NetworkLive.model_validate_json(payload)
            for topic, payload in self.published
            if topic == "central/v1/network"
        ]
        self.published.clear()
        return halls, networks


class Steady:
    """A steady clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
async def store(tmp_path: Path) -> Any:
    opened = await SqliteStore.open(tmp_path / "centre.db")
    yield opened
    await opened.close()


def online(**more: Any) -> HallReport:
    return HallReport(hall="hall-a", presence=Presence.ONLINE, epoch=EPOCH, **more)


async def commit(store: SqliteStore, first: int, last: int, hall: str = "hall-a") -> None:
    texts = envelopes(HallDay(5).whole(20), hall)[first - 1 : last]
    events = [e for t in texts for e in read_events(f"halls/{hall}/v1/events", t.encode()).events]
    await store.commit(events, [], NOW.isoformat())


async def test_a_document_is_published_when_it_changes_and_else_to_stay_fresh(
    store: SqliteStore,
) -> None:
    clock, session = Steady(), Recorder()
    live = Live(store, stale_seconds=45, monotonic=clock, now=lambda: NOW)
    await commit(store, 1, 30)
    live.on_commit(["hall-a"])
    await live.publish_due(session)
    assert [len(each) for each in session.take()] == [1, 1]

    clock.seconds += 0.25
    live.on_commit(["hall-a"])  # only duplicates came
    await live.publish_due(session)
    assert session.take() == ([], [])

    await commit(store, 31, 40)
    live.on_commit(["hall-a"])
    await live.publish_due(session)
    ((hall,), (network,)) = session.take()
    assert hall.events == network.events == 40

    clock.seconds += RENEW_SECONDS
    await live.publish_due(session)
    assert [len(each) for each in session.take()] == [1, 1]


async def test_what_is_committed_while_a_document_is_made_is_in_the_next_one(
    store: SqliteStore,
) -> None:
    clock, session = Steady(), Recorder()
    live = Live(store, stale_seconds=45, monotonic=clock, now=lambda: NOW)
    await commit(store, 1, 10)
    live.on_commit(["hall-a"])
    publishing = asyncio.create_task(live.publish_due(session))
    await asyncio.sleep(0)  # it is reading the store now
    await commit(store, 11, 20)
    live.on_commit(["hall-a"])
    await publishing
    await live.publish_due(session)
    assert session.take()[0][-1].events == 20


class SlowBroker(Recorder):
    """Confirms halls' documents when so many of them wait for it."""

    def __init__(self, at_once: int) -> None:
        super().__init__()
        self._barrier = asyncio.Barrier(at_once)
        self.waiting = self.most_waiting = 0

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if topic != "central/v1/network":
            self.waiting += 1
            self.most_waiting = max(self.most_waiting, self.waiting)
            await self._barrier.wait()
            self.waiting -= 1
        await super().publish(topic, payload, retain=retain)


async def test_the_documents_of_many_halls_do_not_wait_for_each_other(store: SqliteStore) -> None:
    live = Live(store, stale_seconds=45, monotonic=Steady(), now=lambda: NOW)
    halls = [f"hall-{number}" for number in range(3 * PUBLISHED_AT_ONCE)]
    for hall in halls:
        live.on_state(HallReport(hall=hall, presence=Presence.ONLINE), retained=False)
    session = SlowBroker(PUBLISHED_AT_ONCE)
    async with asyncio.timeout(60):
        await live.publish_due(session)
    documents, (network,) = session.take()
    assert sorted(each.hall for each in documents) == sorted(halls)
    assert network.halls_online == len(halls)
    assert session.most_waiting == PUBLISHED_AT_ONCE


async def test_a_hall_without_a_heartbeat_is_lost_and_comes_back(store: SqliteStore) -> None:
    clock, session = Steady(), Recorder()
    live = Live(store, stale_seconds=45, monotonic=clock, now=lambda: NOW)
    live.on_state(online(head=10), retained=False)
    clock.seconds += 44
    await live.publish_due(session)
    ((hall,), (network,)) = session.take()
    assert (hall.presence, hall.heartbeat_age_seconds, hall.behind) == (Presence.ONLINE, 44, 10)
    assert network.halls_online == 1
    clock.seconds += 2
    await live.publish_due(session)
    clock.seconds += RENEW_SECONDS
    await live.publish_due(session)
    halls, _ = session.take()
    assert halls[-1].presence is Presence.LOST
    live.on_state(online(), retained=False)
    await live.publish_due(session)
    assert session.take()[0][0].presence is Presence.ONLINE


async def test_a_retained_state_is_no_sign_of_life(store: SqliteStore) -> None:
    clock, session = Steady(), Recorder()
    live = Live(store, stale_seconds=45, monotonic=clock, now=lambda: NOW)
    live.on_state(online(), retained=True)
    await live.publish_due(session)
    assert session.take()[0][0].heartbeat_age_seconds is None
    clock.seconds += 46
    await live.publish_due(session)
    assert session.take()[0][0].presence is Presence.LOST


async def test_names_are_passed_on_and_outlive_the_last_will(store: SqliteStore) -> None:
    session = Recorder()
    live = Live(store, stale_seconds=45, monotonic=Steady(), now=lambda: NOW)
    await commit(store, 1, 30)
    name = {Language.ZH: "滨江营业厅", Language.EN: "Riverside"}
    payment = {Language.ZH: "缴费", Language.EN: "Payment"}
    live.on_state(online(name=name, service_names={"payment": payment}), retained=False)
    live.on_state(HallReport(hall="hall-a", presence=Presence.LOST), retained=False)
    await live.publish_due(session)
    (hall,) = session.take()[0]
    assert hall.name == name
    assert {each.service: each.name for each in hall.services} == {
        "enquiry": {},
        "payment": payment,
    }


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        (("payment", "enquiry"), ["payment", "enquiry"]),
        (("enquiry", "payment"), ["enquiry", "payment"]),
        (("payment",), ["payment", "enquiry"]),
        ((), ["enquiry", "payment"]),
    ],
)
async def test_services_stand_in_the_order_in_which_the_hall_names_them(
    store: SqliteStore, named: tuple[str, ...], shown: list[str]
) -> None:
    session = Recorder()
    live = Live(store, stale_seconds=45, monotonic=Steady(), now=lambda: NOW)
    await commit(store, 1, 30)
    report = online(service_names={service: {} for service in named})
    live.on_state(HallReport.model_validate_json(report.model_dump_json()), retained=False)
    await live.publish_due(session)
    (hall,) = session.take()[0]
    assert [each.service for each in hall.services] == shown


async def test_the_last_will_does_not_wipe_what_the_hall_said(store: SqliteStore) -> None:
    clock, session = Steady(), Recorder()
    live = Live(store, stale_seconds=45, monotonic=clock, now=lambda: NOW)
    await commit(store, 1, 30)
    live.on_state(online(head=35), retained=False)
    live.on_state(HallReport(hall="hall-a", presence=Presence.LOST), retained=False)
    await live.publish_due(session)
    (hall,) = session.take()[0]
    assert (hall.presence, hall.behind) == (Presence.LOST, 5)


async def test_a_hall_out_of_service_is_deleted_once_and_comes_back_when_it_is_heard(
    store: SqliteStore,
) -> None:
    clock, session = Steady(), Recorder()
    live = Live(store, stale_seconds=45, monotonic=clock, now=lambda: NOW)
    live.on_state(online(), retained=False)
    await live.publish_due(session)
    session.take()
    live.on_retired("hall-a")
    await live.publish_due(session)
    assert session.published[0] == ("central/v1/halls/hall-a/live", b"")
    _, (network,) = session.take()
    assert (network.halls, network.halls_online) == (0, 0)
    clock.seconds += RENEW_SECONDS
    await live.publish_due(session)
    assert [topic for topic, _ in session.published] == ["central/v1/network"]
    session.take()
    live.on_state(online(), retained=False)
    await live.publish_due(session)
    assert session.take()[1][0].halls_online == 1


async def test_what_a_kill_left_to_be_deleted_is_deleted_by_the_next_start(
    store: SqliteStore,
) -> None:
    clock, session = Steady(), Recorder()
    for hall in ("hall-a", "hall-b"):
        await commit(store, 1, 30, hall=hall)
        await store.retire(hall)
    live = Live(store, stale_seconds=45, monotonic=clock, now=lambda: NOW)
    live.on_state(online(), retained=False)  # hall-a is heard already
    shown = asyncio.Event()
    running = asyncio.create_task(live.run(session, shown.set))
    async with asyncio.timeout(10):
        await shown.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    deleted = [topic for topic, payload in session.published if payload == b""]
    assert deleted == ["central/v1/halls/hall-b/live"]


def test_silence_is_no_satisfaction() -> None:
    nobody = satisfaction({}, finished=10)
    assert (nobody.satisfaction, nobody.rated_share) == (None, 0.0)
    some = satisfaction({"very_satisfied": 1, "satisfied": 1, "dissatisfied": 2}, finished=8)
    assert (some.satisfaction, some.rated_share) == (0.5, 0.5)


@pytest.mark.parametrize("meanwhile", ["asked", "published"])
async def test_what_comes_while_a_document_is_on_its_way_is_published_the_next_time(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    session = Recorder()
    live = Live(store, stale_seconds=45, monotonic=Steady(), now=lambda: NOW)
    await commit(store, 1, 30)
    live.on_commit(["hall-a"])
    asked, published = store.facts, session.publish

    async def more() -> None:
        monkeypatch.undo()
        await commit(store, 31, 40)
        live.on_commit(["hall-a"])

    async def facts(hall: str) -> Any:
        found = await asked(hall)
        await more()
        return found

    async def publish(topic: str, payload: bytes, *, retain: bool = False) -> None:
        await published(topic, payload, retain=retain)
        await more()

    if meanwhile == "asked":
        monkeypatch.setattr(store, "facts", facts)
    else:
        monkeypatch.setattr(session, "publish", publish)
    await live.publish_due(session)
    ((hall,), _) = session.take()
    assert hall.events == 30
    await live.publish_due(session)
    ((hall,), _) = session.take()
    assert hall.events == 40

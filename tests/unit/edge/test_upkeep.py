"""What happens without anybody pressing: days, snapshots, the watchdog, fresh screens."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from contract.commands import (
    ConfirmPrint,
    IssueTicket,
    OpenDay,
    Refusal,
    RefusalReason,
    SignOn,
)
from contract.events import DayClosed, DayOpened, DeviceChanged
from contract.names import DeviceStatus, HallPhase
from edge import snapshot
from edge.clock import ManualClock
from edge.controller import MAX_WAITING, Controller
from edge.health import Health
from edge.journal.errors import JournalError, JournalFull
from edge.queue.state import HallState
from edge.upkeep import SNAPSHOT_EVERY_EVENTS, DayKeeper, SnapshotKeeper, keep_screens_fresh
from edge.watchdog import feed_watchdog
from tests.support.hall import MONDAY, MORNING, make_plan, ulid
from tests.support.memory_log import MemoryLog
from tests.support.service_manager import ServiceManager, service_manager

DAY_SECONDS = 86_400


class Scene:
    def __init__(self) -> None:
        self.log = MemoryLog()
        self.clock = ManualClock(MORNING)
        self.controller = Controller(make_plan(), HallState(), 0, self.log, self.clock)

    async def customer(self) -> None:
        await self.controller.submit(IssueTicket(ticket=ulid(1), service="a"))
        await self.controller.submit(ConfirmPrint(ticket=ulid(1)))

    def days(self) -> list[tuple[str, date]]:
        return [
            (type(event).__name__, event.business_day)
            for event in self.log.events
            if isinstance(event, DayOpened | DayClosed)
        ]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    writer = asyncio.create_task(scene.controller.run())
    yield scene
    scene.log.let_go()
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)


async def test_a_day_is_opened_at_start_and_the_next_one_in_its_time(scene: Scene) -> None:
    keeper = DayKeeper(scene.controller, scene.clock)
    await keeper.check()
    assert scene.controller.state.business_day == MONDAY
    await scene.customer()
    scene.clock.advance(DAY_SECONDS)
    await keeper.check()
    assert [name for name, _ in scene.days()] == ["DayOpened", "DayClosed", "DayOpened"]
    assert not scene.controller.state.tickets, "yesterday's tickets have ended"


async def test_a_clock_set_back_to_1970_changes_nothing(scene: Scene) -> None:
    keeper = DayKeeper(scene.controller, scene.clock)
    await keeper.check()
    scene.clock.step_wall(-56 * 365 * DAY_SECONDS)
    await keeper.check()
    assert scene.controller.state.business_day == MONDAY
    assert len(scene.days()) == 1


async def test_a_clock_that_is_set_forward_throws_nobody_out(scene: Scene) -> None:
    keeper = DayKeeper(scene.controller, scene.clock)
    await keeper.check()
    await scene.customer()
    scene.clock.step_wall(3 * DAY_SECONDS)
    await keeper.check()
    assert scene.controller.state.lines.count("a") == 1
    assert scene.controller.state.business_day == MONDAY


async def test_a_clock_that_was_a_month_ahead_is_set_right_and_so_is_the_day(scene: Scene) -> None:
    keeper = DayKeeper(scene.controller, scene.clock)
    await keeper.check()
    scene.clock.step_wall(30 * DAY_SECONDS)
    await keeper.check()
    scene.clock.advance(3600)
    scene.clock.step_wall(-30 * DAY_SECONDS)
    await keeper.check()
    wrong = MONDAY + timedelta(days=30)
    opened = [day for name, day in scene.days() if name == "DayOpened"]
    assert opened == [MONDAY, wrong, MONDAY]
    assert scene.controller.state.phase is HallPhase.OPEN


async def test_a_journal_that_refuses_leaves_the_day_for_the_next_check(scene: Scene) -> None:
    keeper = DayKeeper(scene.controller, scene.clock)
    scene.log.full = True
    await keeper.check()
    assert scene.controller.state.phase is HallPhase.CLOSED
    scene.log.full = False
    await keeper.check()
    assert scene.controller.state.phase is HallPhase.OPEN


class Snapshots:
    def __init__(self) -> None:
        self.saved: list[tuple[int, str]] = []
        self.full = False

    async def save_snapshot(self, position: int, state: str) -> None:
        if self.full:
            raise JournalFull("no room")
        self.saved.append((position, state))


async def test_a_snapshot_is_the_state_at_its_position(scene: Scene) -> None:
    store = Snapshots()
    keeper = SnapshotKeeper(scene.controller, store)
    await DayKeeper(scene.controller, scene.clock).check()
    await scene.customer()
    await keeper.save()
    ((position, text),) = store.saved
    assert position == len(scene.log.events)
    assert snapshot.from_json(text) == scene.controller.state


async def test_where_nothing_has_happened_there_is_nothing_to_save(scene: Scene) -> None:
    store = Snapshots()
    await SnapshotKeeper(scene.controller, store).save()
    assert store.saved == []


async def test_the_day_goes_over_at_the_reset_time_not_up_to_a_check_later(scene: Scene) -> None:
    keeper = DayKeeper(scene.controller, scene.clock)
    keeping = asyncio.create_task(keeper.run())
    for _ in range(20):
        await asyncio.sleep(0)
    # 9:00 to 4:00 of the next morning, in steps as long as the keeper sleeps.
    seconds = 0
    while scene.controller.state.business_day == MONDAY and seconds < DAY_SECONDS:
        scene.clock.advance(10)
        seconds += 10
        for _ in range(5):
            await asyncio.sleep(0)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert seconds == pytest.approx(19 * 3600, abs=20)


async def test_a_journal_that_heals_is_found_out_without_anybody_pressing(scene: Scene) -> None:
    health = Health(scene.controller, scene.clock)
    recording = asyncio.create_task(health.run())
    scene.log.full = True
    await DayKeeper(scene.controller, scene.clock).check()
    assert scene.controller.journal_refuses
    assert health.statuses["journal"] is DeviceStatus.FAULT
    scene.log.full = False
    async with asyncio.timeout(10):
        while scene.controller.journal_refuses:
            await asyncio.sleep(0.01)
    assert health.statuses["journal"] is DeviceStatus.ONLINE
    recording.cancel()
    await asyncio.gather(recording, return_exceptions=True)


async def test_snapshots_come_by_themselves(scene: Scene) -> None:
    store = Snapshots()
    keeper = SnapshotKeeper(scene.controller, store)
    keeping = asyncio.create_task(keeper.run())
    await DayKeeper(scene.controller, scene.clock).check()
    at = scene.clock.now()
    changed = DeviceChanged(at=at, device="printer", status=DeviceStatus.ONLINE)
    await scene.controller.record(*(SNAPSHOT_EVERY_EVENTS * [changed]))
    async with asyncio.timeout(5):
        while not store.saved:
            await asyncio.sleep(0)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_a_snapshot_that_fails_costs_nothing_but_a_word(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    store = Snapshots()
    store.full = True
    await DayKeeper(scene.controller, scene.clock).check()
    await SnapshotKeeper(scene.controller, store).save()
    assert "no snapshot this time" in caplog.text


async def test_screens_are_refreshed_after_something_happened_and_not_before(scene: Scene) -> None:
    refreshed = asyncio.Event()
    keeping = asyncio.create_task(keep_screens_fresh(scene.controller, refreshed.set))
    await asyncio.sleep(0)
    assert not refreshed.is_set()
    await DayKeeper(scene.controller, scene.clock).check()
    async with asyncio.timeout(5):
        await refreshed.wait()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServiceManager]:
    with service_manager(tmp_path, monkeypatch, watchdog_seconds=0.3) as manager:
        yield manager


async def _journal_answers() -> None:
    return


async def test_the_watchdog_is_fed_while_queue_and_journal_answer(
    scene: Scene, manager: ServiceManager
) -> None:
    feeding = asyncio.create_task(feed_watchdog(scene.controller, _journal_answers))
    assert b"WATCHDOG=1" in await manager.hear()
    assert b"WATCHDOG=1" in await manager.hear()
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)


async def test_the_watchdog_starves_while_the_journal_hangs(
    scene: Scene, manager: ServiceManager, caplog: pytest.LogCaptureFixture
) -> None:
    async def hangs() -> None:
        await asyncio.Event().wait()

    feeding = asyncio.create_task(feed_watchdog(scene.controller, hangs))
    async with asyncio.timeout(5):
        while "have not answered" not in caplog.text:
            await asyncio.sleep(0.01)
    assert manager.silent()
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)


async def test_the_watchdog_starves_while_the_writer_hangs(
    scene: Scene, manager: ServiceManager, caplog: pytest.LogCaptureFixture
) -> None:
    scene.log.hold()
    stuck = asyncio.ensure_future(scene.controller.submit(SignOn(window=1, clerk="1")))
    opening = asyncio.ensure_future(DayKeeper(scene.controller, scene.clock).check())
    feeding = asyncio.create_task(feed_watchdog(scene.controller, _journal_answers))
    async with asyncio.timeout(5):
        while "have not answered" not in caplog.text:
            await asyncio.sleep(0.01)
    assert manager.silent()
    scene.log.let_go()
    assert b"WATCHDOG=1" in await manager.hear()
    feeding.cancel()
    await asyncio.gather(feeding, stuck, opening, return_exceptions=True)


async def test_the_watchdog_starves_while_the_writer_hangs_and_the_queue_is_full(
    scene: Scene, manager: ServiceManager, caplog: pytest.LogCaptureFixture
) -> None:
    """Then the question is refused at once, and that is no answer of the writer's."""
    scene.log.hold()
    opening = asyncio.ensure_future(DayKeeper(scene.controller, scene.clock).check())
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the writer hangs in its append
    flood = [
        asyncio.ensure_future(scene.controller.submit(SignOn(window=1, clerk="1")))
        for _ in range(MAX_WAITING)
    ]
    await asyncio.sleep(0)
    feeding = asyncio.create_task(feed_watchdog(scene.controller, _journal_answers))
    async with asyncio.timeout(5):
        while caplog.text.count("does not take the watchdog's question") < 3:
            await asyncio.sleep(0.01)
    assert manager.silent()
    scene.log.let_go()
    assert b"WATCHDOG=1" in await manager.hear()
    feeding.cancel()
    await asyncio.gather(feeding, opening, *flood, return_exceptions=True)


async def test_the_watchdog_starves_while_the_journal_answers_wrongly(
    scene: Scene, manager: ServiceManager, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = True

    async def check() -> None:
        if damaged:
            raise JournalError("it lost events")

    feeding = asyncio.create_task(feed_watchdog(scene.controller, check))
    async with asyncio.timeout(5):
        while caplog.text.count("it lost events") < 3:
            await asyncio.sleep(0.01)
    assert manager.silent()
    damaged = False
    assert b"WATCHDOG=1" in await manager.hear()
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)


async def test_a_full_disk_is_an_answer_to_the_watchdog(
    scene: Scene, manager: ServiceManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its question may share a group, and its refusal, with a press; a restart mends no disk."""
    monkeypatch.setenv("WATCHDOG_USEC", "600000000")  # one question within this test
    scene.log.full = True
    feeding = asyncio.create_task(feed_watchdog(scene.controller, _journal_answers))
    opening = asyncio.create_task(scene.controller.submit(OpenDay(business_day=MONDAY)))
    refused = await opening
    assert isinstance(refused, Refusal)
    assert scene.controller.refused[RefusalReason.JOURNAL_UNAVAILABLE] == 2, "both in one group"
    assert b"WATCHDOG=1" in await manager.hear()
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)

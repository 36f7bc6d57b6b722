"""A start: the newest snapshot and the tail behind it are the state that was."""

import asyncio
import shutil
import sqlite3
import sys
import tempfile
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.commands import (
    CallNext,
    CloseDay,
    Command,
    ConfirmPrint,
    IssueTicket,
    OpenDay,
    Refusal,
    SignOn,
    Start,
)
from contract.names import WindowState
from edge import bootstrap
from edge.bootstrap import restore
from edge.clock import ManualClock
from edge.controller import Controller
from edge.journal.database import TAIL
from edge.journal.journal import Journal
from edge.queue.plan import HallPlan
from edge.queue.state import DAYS_REMEMBERED, HallState
from edge.upkeep import SnapshotKeeper
from tests.support.hall import MONDAY, MORNING, make_plan, ulid
from tests.support.hall_events import device, epochs
from tests.support.service_manager import service_manager
from tests.support.walks import CLERKS, commands, plans

HALL = "riverside"


class Scene:
    """A controller at work on a journal on disk."""

    def __init__(self, plan: HallPlan, journal: Journal, state: HallState, position: int) -> None:
        self.clock = ManualClock(MORNING)
        self.journal = journal
        self.controller = Controller(plan, state, position, journal, self.clock)
        self.keeper = SnapshotKeeper(self.controller, journal)

    async def do(self, *commands: Command) -> None:
        for command in commands:
            outcome = await self.controller.submit(command)
            assert not isinstance(outcome, Refusal), outcome

    async def ticket(self, n: int) -> None:
        await self.do(IssueTicket(ticket=ulid(n), service="a"), ConfirmPrint(ticket=ulid(n)))

    @property
    def now(self) -> tuple[HallState, int]:
        return self.controller.state, self.controller.position


@asynccontextmanager
async def journal_at(path: Path) -> AsyncIterator[Journal]:
    journal = await Journal.open(path, hall=HALL, new_epoch=epochs())
    try:
        yield journal
    finally:
        await journal.close()


@asynccontextmanager
async def at_work(path: Path, plan: HallPlan) -> AsyncIterator[Scene]:
    """A hall that begins where its journal ends."""
    async with journal_at(path) as journal:
        scene = Scene(plan, journal, *await restore(journal))
        writer = asyncio.create_task(scene.controller.run())
        try:
            async with asyncio.timeout(60):
                yield scene
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)


async def restored(path: Path) -> tuple[HallState, int]:
    async with journal_at(path) as journal:
        return await restore(journal)


def after_a_power_cut(path: Path, folder: Path) -> Path:
    """What is on the disk in this instant, while the journal is still open."""
    folder.mkdir()
    for file in (path, path.with_name(path.name + "-wal")):
        shutil.copy(file, folder)
    return folder / path.name


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


async def test_what_happened_after_the_snapshot_is_there_after_a_power_cut(
    path: Path, tmp_path: Path
) -> None:
    async with at_work(path, make_plan()) as scene:
        await scene.do(OpenDay(business_day=MONDAY), SignOn(window=1, clerk="1001"))
        await scene.ticket(1)
        await scene.keeper.save()
        await scene.ticket(2)
        await scene.do(CallNext(window=1), Start(window=1))
        cut = after_a_power_cut(path, tmp_path / "cut")
        state, position = await restored(cut)
        assert (state, position) == scene.now
    assert state.window(1).state is WindowState.SERVING
    assert set(state.tickets) == {ulid(1), ulid(2)}


async def test_a_start_that_replays_the_past_asks_the_service_manager_for_time(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "_TELL_EVERY_EVENTS", 2)
    async with at_work(path, make_plan()) as scene:
        await scene.do(OpenDay(business_day=MONDAY), SignOn(window=1, clerk="1001"))
        await scene.ticket(1)
    with service_manager(tmp_path, monkeypatch, watchdog_seconds=10) as manager:
        await restored(path)
        told = (await manager.hear()).decode()
    assert "EXTEND_TIMEOUT_USEC=60000000" in told
    assert "STATUS=replaying the journal: 2 of 5 events" in told


async def test_a_restored_hall_goes_on_and_is_restored_again(path: Path) -> None:
    async with at_work(path, make_plan()) as scene:
        await scene.do(OpenDay(business_day=MONDAY))
        await scene.ticket(1)
        await scene.keeper.save()
        await scene.ticket(2)
    async with at_work(path, make_plan()) as scene:
        await scene.ticket(3)
        await scene.keeper.save()
        await scene.ticket(4)
        live = scene.now
    numbers = [ticket.number for ticket in live[0].tickets.values()]
    assert numbers == ["A001", "A002", "A003", "A004"]
    assert await restored(path) == live


async def test_what_a_snapshot_contains_is_not_read_again(path: Path) -> None:
    """A start takes as long as the tail, and not as the years before it."""
    async with at_work(path, make_plan()) as scene:
        await scene.do(OpenDay(business_day=MONDAY))
        await scene.keeper.save()
        await scene.controller.record(*(device(str(n)) for n in range(TAIL)))
        live = scene.now
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE events SET body = '{}' WHERE position = 1")
    assert await restored(path) == live


async def spent_on(path: Path, days: int, numbers_a_day: int) -> list[date]:
    """A journal whose guard knows the numbers of so many days; the days, in order."""
    async with journal_at(path):
        pass
    known = [MONDAY + timedelta(days=n) for n in range(days)]
    with closing(sqlite3.connect(path)) as database, database:
        database.executemany(
            "INSERT INTO numbers VALUES (?, ?)",
            [(day.isoformat(), f"A{n:03}") for day in known for n in range(1, numbers_a_day + 1)],
        )
    return known


async def test_a_hall_that_begins_anew_knows_the_spent_numbers_of_the_last_days(
    path: Path,
) -> None:
    days = await spent_on(path, DAYS_REMEMBERED + 50, 3)
    state, _ = await restored(path)
    assert state.spent_on == {day: {"A": ((1, 3),)} for day in days[-DAYS_REMEMBERED:]}


async def test_a_start_never_holds_the_numbers_of_more_than_a_day(path: Path) -> None:
    """A journal of years has millions of them."""
    await spent_on(path, 60, 1000)
    async with journal_at(path) as journal:
        await restore(journal)  # what is allocated once
        tracemalloc.start()
        try:
            await restore(journal)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    all_bytes = 60 * 1000 * sys.getsizeof("A001")
    assert peak_bytes < all_bytes / 4


async def test_the_journal_tells_spent_numbers_newest_day_first_and_no_more_days_than_asked(
    path: Path,
) -> None:
    days = await spent_on(path, 9, 2)
    async with journal_at(path) as journal:
        told = [each async for each in journal.spent_numbers(None, days=3)]
        assert told == [(day, ["A001", "A002"]) for day in reversed(days[-3:])]
        told = [each async for each in journal.spent_numbers(days[-2], days=9)]
        assert [day for day, _ in told] == [days[-1], days[-2]]
        assert [each async for each in journal.spent_numbers(days[-1] + timedelta(1), days=9)] == []


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_after_any_walk_and_a_snapshot_anywhere_the_state_comes_back(data: st.DataObject) -> None:
    plan = data.draw(plans())
    walk = data.draw(walks(plan))
    snapshot_after = data.draw(st.integers(0, len(walk) - 1))
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_live_and_restored_are_one(Path(folder) / "j.db", plan, walk, snapshot_after))


def walks(plan: HallPlan) -> st.SearchStrategy[list[Command]]:
    """A morning, anything that people do, and perhaps the next day."""
    opening: list[Command] = [OpenDay(business_day=MONDAY)]
    opening += [
        SignOn(window=window, clerk=clerk)
        for window, clerk in zip(plan.windows, CLERKS, strict=False)
    ]
    tickets = [ulid(n) for n in range(1, 7)]
    services = sorted(plan.services)
    for n, ticket in enumerate(tickets[:4]):
        opening.append(IssueTicket(ticket=ticket, service=services[n % len(services)]))
        opening.append(ConfirmPrint(ticket=ticket))
    next_day: list[Command] = [
        CloseDay(),
        OpenDay(business_day=MONDAY + timedelta(days=1)),
        IssueTicket(ticket=ulid(7), service=services[0]),
        ConfirmPrint(ticket=ulid(7)),
    ]
    return st.builds(
        lambda walk, ending: opening + walk + ending,
        st.lists(commands(plan, tickets), max_size=30),
        st.sampled_from([[], next_day[:1], next_day]),
    )


async def _live_and_restored_are_one(
    path: Path, plan: HallPlan, walk: list[Command], snapshot_after: int
) -> None:
    async with at_work(path, plan) as scene:
        for place, command in enumerate(walk):
            scene.clock.advance(86_400 if isinstance(command, CloseDay) else 7.3)
            await scene.controller.submit(command)
            if place == snapshot_after:
                await scene.keeper.save()
        live = scene.now
    assert await restored(path) == live

"""Old copies of the journal that are put back one after the other on one day: the lock file beside
knows what the copies can't."""

import asyncio
import errno
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest

from contract.commands import IssueTicket, Refusal
from contract.events import TicketIssued
from edge.bootstrap import restore
from edge.clock import ManualClock
from edge.controller import Controller
from edge.journal.companion import FileLock
from edge.journal.errors import JournalFull
from edge.journal.journal import Journal
from edge.journal.salvage import salvage
from edge.old_copy import OldCopy
from edge.queue.plan import HallPlan
from edge.ulid import new_ulid
from edge.upkeep import DayKeeper
from tests.support.hall import MORNING, make_plan

PLAN = make_plan({1: "ab"})


class OpenHall:
    """As ``edge.bootstrap`` opens one, without devices."""

    def __init__(self, journal: Journal, controller: Controller, clock: ManualClock) -> None:
        self.journal = journal
        self.controller = controller
        self.found_a_copy = journal.was_put_back
        self.copy = OldCopy(controller, journal, clock)
        self.days = DayKeeper(controller, clock, self.copy.settle_when_dated)

    async def open(self) -> None:
        await self.days.check()
        if self.journal.was_put_back:
            assert await self.copy.leave_out_numbers()
            await self.copy.settle()

    async def issue(self, count: int, service: str = "a") -> list[str]:
        """The numbers, with their day before them."""
        numbers = []
        for _ in range(count):
            outcome = await self.controller.submit(IssueTicket(ticket=new_ulid(), service=service))
            assert not isinstance(outcome, Refusal), outcome
            (issued,) = [event for event in outcome if isinstance(event, TicketIssued)]
            numbers.append(f"{issued.business_day} {issued.number}")
        return numbers


@asynccontextmanager
async def hall_at(path: Path, clock: ManualClock, plan: HallPlan = PLAN) -> AsyncIterator[OpenHall]:
    clock.reboot(new_ulid())
    journal = await Journal.open(path, hall="hall-1", new_epoch=new_ulid)
    try:
        state, position = await restore(journal)
        if journal.wants_new_epoch:
            await journal.start_new_epoch()
        controller = Controller(plan, state, position, journal, clock)
        writer = asyncio.create_task(controller.run())
        try:
            hall = OpenHall(journal, controller, clock)
            await hall.open()
            yield hall
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
    finally:
        await journal.close()


PutBack = Callable[[Path, Path], None]


def into_the_same_file(copy: Path, path: Path) -> None:
    without_its_log(path)
    path.write_bytes(copy.read_bytes())


def as_another_file(copy: Path, path: Path) -> None:
    without_its_log(path)
    path.rename(path.with_name("put-aside"))
    shutil.copyfile(copy, path)


def without_its_log(path: Path) -> None:
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)


class Morning:
    """Journals of one morning, copied and put back; every number that people got."""

    def __init__(self, folder: Path, last_number: int = 999) -> None:
        self.path = folder / "journal.db"
        self.plan = make_plan({1: "ab"}, last_number=last_number)
        self.clock = ManualClock(MORNING)
        self.given: list[str] = []

    def copied(self, name: str) -> Path:
        return Path(shutil.copyfile(self.path, self.path.with_name(name)))

    async def issue(self, count: int, *, found_a_copy: bool = False, service: str = "a") -> None:
        async with hall_at(self.path, self.clock, self.plan) as hall:
            assert hall.found_a_copy is found_a_copy
            self.given += await hall.issue(count, service)

    async def put_back_a_copy(self, *, lost: int, after_seconds: float = 0.0) -> Path:
        """The copy, which knows nothing of so many numbers that were issued so long after it."""
        copy = self.copied("copy")
        self.clock.advance(after_seconds)
        await self.issue(lost)
        into_the_same_file(copy, self.path)
        return copy

    def assert_no_number_twice(self) -> None:
        assert len(set(self.given)) == len(self.given), sorted(self.given)


put_back_somehow = pytest.mark.parametrize("put_back", [into_the_same_file, as_another_file])


@put_back_somehow
@pytest.mark.parametrize("second", ["copy-of-9", "copy-of-11"])
@pytest.mark.parametrize("clock_is_set", [True, False])
async def test_a_copy_that_is_put_back_over_another_one_knows_how_far_numbers_came(
    tmp_path: Path, put_back: PutBack, second: str, *, clock_is_set: bool
) -> None:
    """What was left out for the first stands in a file that is gone."""
    morning = Morning(tmp_path)
    await morning.issue(10)
    morning.copied("copy-of-9")
    morning.clock.advance(2 * 3600)
    await morning.issue(90)
    morning.copied("copy-of-11")
    morning.clock.advance(3600)
    await morning.issue(40)

    put_back(tmp_path / "copy-of-9", morning.path)
    morning.clock.synced = clock_is_set
    await morning.issue(30, found_a_copy=True)

    morning.clock.advance(300)
    put_back(tmp_path / second, morning.path)
    await morning.issue(30, found_a_copy=True)
    morning.clock.synced = True
    await morning.issue(30, found_a_copy=not clock_is_set)
    morning.assert_no_number_twice()


async def test_what_was_left_out_for_a_copy_is_left_out_once_for_the_next(tmp_path: Path) -> None:
    """A disk that gives files other inodes at each mount must not double it at each."""
    morning = Morning(tmp_path)
    await morning.issue(1)
    for _ in range(5):
        copy = morning.copied("moved")
        as_another_file(copy, morning.path)
        await morning.issue(1, found_a_copy=True)
    numbers = [int(each.split("A")[1]) for each in morning.given]
    assert numbers == [1, 52, 103, 154, 205, 256]


@put_back_somehow
@pytest.mark.parametrize("second", ["first", "later"])
@pytest.mark.parametrize(
    "day",
    [(99, 10, 1, 15), (300, 20, 2, 40), (999, 50, 8, 60), (999, 50, 5, 60)],
)
async def test_where_only_half_of_what_is_left_can_be_left_out_it_is_counted_behind_the_other_copys(
    tmp_path: Path, put_back: PutBack, second: str, day: tuple[int, int, int, int]
) -> None:
    """What was left out for the first copy is gone, and no part of the half."""
    last_number, issued, hours, between = day
    morning = Morning(tmp_path, last_number)
    await morning.issue(issued)
    morning.copied("first")
    morning.clock.advance(hours * 3600)
    await morning.issue(5)
    morning.copied("later")
    put_back(tmp_path / "first", morning.path)
    await morning.issue(between, found_a_copy=True)
    put_back(tmp_path / second, morning.path)
    morning.clock.advance(1800)
    await morning.issue(between // 2, found_a_copy=True)
    morning.assert_no_number_twice()


async def test_a_service_with_few_numbers_is_not_used_up_by_one_with_many(tmp_path: Path) -> None:
    """Each service's reach is its own."""
    morning = Morning(tmp_path)
    morning.plan = replace(
        PLAN,
        services={
            "a": PLAN.services["a"],
            "b": replace(PLAN.services["b"], prefix="A", first_number=1000, last_number=1050),
        },
    )
    await morning.issue(10)
    morning.copied("copy")
    await morning.issue(1)
    for _ in range(2):
        morning.clock.advance(3600)
        into_the_same_file(tmp_path / "copy", morning.path)
        await morning.issue(2, found_a_copy=True)
        await morning.issue(2, service="b")
    morning.assert_no_number_twice()
    few = [int(each.split("A")[1]) for each in morning.given if int(each.split("A")[1]) >= 1000]
    assert few == [1025, 1026, 1038, 1039]


@pytest.mark.parametrize("what", ["the journal", "the lock file"])
async def test_a_disk_that_is_full_for_a_while_costs_no_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """It is tried again each second; what was noted for nothing is this copy's own."""
    morning = Morning(tmp_path)
    await morning.issue(10)
    await morning.put_back_a_copy(lost=5)
    morning.clock.synced = False
    async with hall_at(morning.path, morning.clock, PLAN) as hall:
        morning.clock.advance(86_400)
        morning.clock.synced = True

        async def full(*_: object) -> None:
            raise JournalFull("no room")

        def no_room(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left")

        with monkeypatch.context() as patch:
            if what == "the journal":
                patch.setattr(Journal, "_insert", full)
            else:
                patch.setattr(FileLock, "remember", no_room)
            for _ in range(10):
                await hall.days.check()
        await hall.days.check()
        (number,) = await hall.issue(1)
        assert number == "2026-03-03 A051"


async def test_starts_that_can_not_leave_numbers_out_do_not_use_them_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk at its edge takes small things; the service manager starts again and again."""
    morning = Morning(tmp_path)
    await morning.issue(10)
    await morning.put_back_a_copy(lost=5)

    async def full(*_: object) -> None:
        raise JournalFull("no room")

    for _ in range(5):
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "_insert", full)
            with pytest.raises(AssertionError):
                await morning.issue(0)
    await morning.issue(1, found_a_copy=True)
    assert morning.given[-1].endswith("A061")


async def test_a_start_that_is_cut_off_before_it_notes_what_it_left_out_is_no_other_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    morning = Morning(tmp_path)
    await morning.issue(10)
    copy = await morning.put_back_a_copy(lost=50, after_seconds=3600)

    async def cut_off(*_: object) -> None:
        raise JournalFull("no room")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "note_left_out", cut_off)
        patch.setattr(Journal, "settle", cut_off)
        with pytest.raises(JournalFull):
            await morning.issue(0)
    into_the_same_file(copy, morning.path)
    await morning.issue(30, found_a_copy=True)
    morning.assert_no_number_twice()
    assert int(morning.given[-1].split("A")[1]) > 10 + 2 * (50 + 60), "what it has left out, too"


async def test_nothing_is_left_out_that_the_lock_file_can_not_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    morning = Morning(tmp_path)
    await morning.issue(1)
    async with hall_at(morning.path, morning.clock) as hall:
        await hall.journal.unsettle(4)

        async def full(*_: object) -> None:
            raise JournalFull("no room")

        with monkeypatch.context() as patch:
            patch.setattr(Journal, "note_reached", full)
            assert not await hall.copy.leave_out_numbers()
        assert not hall.controller.state.spent["A"][0][1] > 1
        assert await hall.copy.leave_out_numbers()
        assert hall.controller.state.spent["A"] == ((1, 53),)


async def test_a_salvage_of_a_folder_that_was_put_back_in_place_is_a_copy_too(
    tmp_path: Path,
) -> None:
    """The lock file of the backup knows the life and the place of what was salvaged."""
    morning = Morning(tmp_path)
    await morning.issue(20)
    lock = tmp_path / "journal.db.lock"
    backup, lock_backup = morning.copied("copy"), lock.read_bytes()
    morning.clock.advance(3600)
    await morning.issue(50)
    without_its_log(morning.path)
    morning.path.write_bytes(backup.read_bytes())
    place, digits, line = lock_backup.rpartition(b" at ")
    lock.write_bytes(place + digits + b"%020d\n" % (int(line) - 3600))  # an hour ago

    salvaged = tmp_path / "salvaged.db"
    salvage(morning.path, salvaged, new_epoch=new_ulid)
    salvaged.replace(morning.path)
    await morning.issue(30, found_a_copy=True)
    morning.assert_no_number_twice()


async def test_a_clock_that_is_set_between_leaving_out_and_settling_settles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Just then the network comes, and numbers were left out on the day of the last shutdown."""
    morning = Morning(tmp_path)
    await morning.issue(10)
    await morning.put_back_a_copy(lost=90, after_seconds=86_400)
    morning.clock.step_wall(-86_400)
    morning.clock.synced = False

    settle = OldCopy.settle

    async def set_just_then(copy: OldCopy) -> None:
        morning.clock.step_wall(86_400)
        morning.clock.synced = True
        await settle(copy)

    monkeypatch.setattr(OldCopy, "settle", set_just_then)
    async with hall_at(morning.path, morning.clock) as hall:
        monkeypatch.setattr(OldCopy, "settle", settle)
        assert hall.journal.was_put_back, "the true day is to come"
        await hall.days.check()
        await hall.days.check()
        assert not hall.journal.was_put_back
        morning.given += await hall.issue(30)
    morning.assert_no_number_twice()


async def test_the_next_day_of_a_clock_that_nobody_has_set_begins_behind_what_may_be_on_paper(
    tmp_path: Path,
) -> None:
    """It may be the true one."""
    morning = Morning(tmp_path)
    await morning.issue(10)
    await morning.put_back_a_copy(lost=20, after_seconds=86_400)
    morning.clock.step_wall(-86_400)
    morning.clock.synced = False
    async with hall_at(morning.path, morning.clock) as hall:
        morning.given += await hall.issue(1)
        morning.clock.advance(86_400)
        for _ in range(3):
            await hall.days.check()
        morning.given += await hall.issue(1)
    morning.assert_no_number_twice()
    assert morning.given[-1].endswith("-03 A051"), "once"


async def test_a_copy_that_ends_in_the_future_may_have_lost_the_whole_day(tmp_path: Path) -> None:
    """Its clock was wrong, and when it was made nobody knows."""
    morning = Morning(tmp_path)
    morning.clock.step_wall(1200)
    await morning.issue(10)
    await morning.put_back_a_copy(lost=150)
    morning.clock.step_wall(-1200)
    await morning.issue(1, found_a_copy=True)
    morning.assert_no_number_twice()


async def test_a_salvage_that_may_have_lost_what_was_left_out_is_a_copy(tmp_path: Path) -> None:
    """No guard of the journal has noted such numbers, only the lock file."""
    morning = Morning(tmp_path)
    await morning.issue(10)
    await morning.put_back_a_copy(lost=90, after_seconds=3600)
    await morning.issue(1, found_a_copy=True)
    with closing(sqlite3.connect(morning.path)) as database:
        left_out = "SELECT position FROM events WHERE body LIKE '%numbers.left-out%'"
        database.execute(f"UPDATE events SET body = 'damaged' WHERE position = ({left_out})")
        database.commit()
    salvage(morning.path, tmp_path / "salvaged", new_epoch=new_ulid)
    (tmp_path / "salvaged").replace(morning.path)
    await morning.issue(1, found_a_copy=True)
    morning.assert_no_number_twice()
    assert int(morning.given[-1].split("A")[1]) > 10 + 50 + 60


@pytest.mark.parametrize(("days", "is_copy"), [(0, True), (1, True), (3, False), (300, False)])
async def test_a_salvage_of_a_sound_journal_is_no_copy_once_the_days_of_the_jump_are_over(
    tmp_path: Path, days: int, *, is_copy: bool
) -> None:
    morning = Morning(tmp_path)
    await morning.issue(10)
    await morning.put_back_a_copy(lost=5)
    await morning.issue(1, found_a_copy=True)
    morning.clock.advance(days * 86_400)
    for _ in range(2):  # the day before ends, this one begins
        await morning.issue(0)
    await morning.issue(1)
    salvage(morning.path, tmp_path / "salvaged", new_epoch=new_ulid)
    (tmp_path / "salvaged").replace(morning.path)
    await morning.issue(1, found_a_copy=is_copy)


async def test_while_a_copy_waits_for_the_date_its_new_epoch_is_begun_once(tmp_path: Path) -> None:
    """What the centre has confirmed must not come to it once more under another name."""
    morning = Morning(tmp_path)
    await morning.issue(10)
    await morning.put_back_a_copy(lost=1)
    morning.clock.synced = False
    epochs = []
    for _ in range(3):
        async with hall_at(morning.path, morning.clock) as hall:
            assert hall.journal.was_put_back
            epochs.append(hall.journal.epoch)
            await hall.issue(1)
    assert len(set(epochs)) == 1
    async with hall_at(morning.path, morning.clock) as hall:
        await hall.journal.unsettle(4)  # the centre says so
        assert hall.journal.wants_new_epoch
    async with hall_at(morning.path, morning.clock) as hall:
        assert hall.journal.epoch not in epochs

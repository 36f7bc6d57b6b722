"""Which numbers are left out by a hall whose journal is an old copy that was put back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from contract.events import NumbersLeftOut
from edge.clock import ManualClock
from edge.controller import Controller
from edge.journal.companion import ByDay, Pending, Reached, also_reached
from edge.old_copy import OldCopy, count_left_out
from edge.queue.apply import apply
from edge.queue.day import business_day
from edge.queue.state import HallState
from edge.upkeep import DayKeeper
from tests.support.hall import MORNING, Hall, make_plan
from tests.support.memory_log import MemoryLog


def a_hall(tickets: str) -> Hall:
    hall = Hall(make_plan({1: "ab"}))
    for service in tickets:
        hall.take_number(service)
    return hall


async def left_out(hall: Hall, *, ago: timedelta, lost_events: int = 0) -> list[NumbersLeftOut]:
    """What the hall leaves out when its copy ended so long ago; it goes on with that."""
    clock = ManualClock(hall.now.wall)
    pending = Pending(hall.now.wall - ago, lost_events)
    async with old_copy(hall, clock, pending) as (copy, controller, memory, _):
        assert await copy.leave_out_numbers()
        hall.state = controller.state
    return [event for event in memory.events if isinstance(event, NumbersLeftOut)]


def next_number(hall: Hall, service: str) -> str:
    return hall.ticket(hall.take_number(service)).number


async def test_the_next_numbers_of_every_service_are_left_out() -> None:
    hall = a_hall("aab")
    (event,) = await left_out(hall, ago=timedelta())
    assert [(run.prefix, run.first, run.last) for run in event.runs] == [
        ("A", 3, 52),
        ("B", 2, 51),
    ]
    assert (next_number(hall, "a"), next_number(hall, "b")) == ("A053", "B052")


async def test_the_longer_ago_the_copy_was_made_the_more_are_left_out() -> None:
    hall = a_hall("a")
    hall.pass_time(7200)
    await left_out(hall, ago=timedelta(hours=1))
    assert next_number(hall, "a") == "A112"


async def test_only_the_present_day_counts_for_a_copy_of_long_ago() -> None:
    hall = a_hall("a")
    since_the_reset = hall.now.wall - hall.now.wall.astimezone(hall.plan.time_zone).replace(
        hour=4, minute=0, second=0, microsecond=0
    )
    await left_out(hall, ago=timedelta(days=300))
    assert next_number(hall, "a") == f"A{2 + 50 + since_the_reset // timedelta(minutes=1):03}"


async def test_what_the_centre_has_more_is_left_out_at_least() -> None:
    assert count_left_out(seconds=60.0, lost_events=0) == 51
    assert count_left_out(seconds=60.0, lost_events=401) == 251
    assert count_left_out(seconds=-7200.0, lost_events=0) == 50  # the clock was set back


async def test_people_still_get_numbers_where_few_are_left() -> None:
    hall = a_hall("a")
    services = {
        name: replace(each, last_number=41) if name == "a" else each
        for name, each in hall.plan.services.items()
    }
    hall.change_plan(services=services)
    await left_out(hall, ago=timedelta())
    assert next_number(hall, "a") == "A22"


async def test_the_events_alone_tell_what_was_left_out() -> None:
    hall = a_hall("ab")
    before = hall.state
    (event,) = await left_out(hall, ago=timedelta())
    assert apply(before, event) == hall.state


async def test_numbers_that_the_journal_refuses_are_not_taken_for_left_out() -> None:
    hall = a_hall("a")
    async with old_copy(hall, ManualClock(MORNING), Pending(MORNING)) as (copy, _, memory, _):
        memory.full = True
        assert not await copy.leave_out_numbers()
        memory.full = False
        assert await copy.leave_out_numbers()
        assert len(memory.events) == 1


async def test_numbers_are_left_out_once_however_often_it_is_asked_for() -> None:
    hall = a_hall("a")
    async with old_copy(hall, ManualClock(MORNING), Pending(MORNING)) as (copy, _, memory, journal):
        for _ in range(3):
            assert await copy.leave_out_numbers()
        assert len(memory.events) == 1
        assert journal.pending
        journal.pending = replace(journal.pending, lost_events=200)
        assert await copy.leave_out_numbers()
        (first, second) = memory.events
        assert isinstance(first, NumbersLeftOut)
        assert isinstance(second, NumbersLeftOut)
        assert (first.runs[0].last, second.runs[0].last) == (51, 151), "what is more, and no more"


async def test_a_day_that_is_not_open_yet_begins_behind_what_was_left_out() -> None:
    hall = Hall(make_plan({1: "ab"}), day_is_open=False)
    state = HallState()
    hall.state = state
    (event,) = await left_out(hall, ago=timedelta())
    assert hall.state.spent_on[event.business_day]["A"] == ((1, 50),)


class CopiedJournal:
    """It was put back, and is settled when somebody says so."""

    def __init__(self, pending: Pending) -> None:
        self.pending: Pending | None = pending
        self.reached: Reached = {}
        self.noted: Reached = {}

    async def note_reached(self, reached: Reached) -> None:
        self.noted = also_reached(self.noted, reached)

    async def note_left_out(self, left_out: ByDay) -> None:
        assert self.pending is not None
        self.pending = replace(self.pending, left_out={**self.pending.left_out, **left_out})

    async def settle(self) -> None:
        self.pending = None


@asynccontextmanager
async def old_copy(
    hall: Hall, clock: ManualClock, pending: Pending
) -> AsyncIterator[tuple[OldCopy, Controller, MemoryLog, CopiedJournal]]:
    memory, journal = MemoryLog(), CopiedJournal(pending)
    controller = Controller(hall.plan, hall.state, 0, memory, clock)
    writer = asyncio.create_task(controller.run())
    try:
        yield OldCopy(controller, journal, clock), controller, memory, journal
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


async def test_of_the_day_that_is_open_and_of_the_clocks_some_are_left_out() -> None:
    """Which of both it is nobody knows."""
    hall = a_hall("a")
    clock = ManualClock(MORNING + timedelta(days=1))
    clock.synced = False
    async with old_copy(hall, clock, Pending(MORNING)) as (copy, controller, memory, _):
        assert await copy.leave_out_numbers()
        days = [event.business_day for event in memory.events if isinstance(event, NumbersLeftOut)]
        assert days == [controller.state.business_day, business_day(hall.plan, clock.now())]
        assert len(set(days)) == 2


async def test_what_this_process_issued_itself_is_not_left_out() -> None:
    hall = a_hall("a")
    clock = ManualClock(MORNING)
    pending = Pending(MORNING - timedelta(minutes=10), lost_events=4)
    async with old_copy(hall, clock, pending) as (copy, controller, _, _):
        clock.advance(8 * 3600)
        assert await copy.leave_out_numbers()
        # As many as minutes before the start, not since.
        assert controller.state.spent["A"] == ((1, 1 + 50 + 10),)


async def test_a_clock_that_nobody_has_set_does_not_settle_a_copy_of_yesterday() -> None:
    """A Raspberry Pi without a network boots with the time of its last shutdown."""
    hall = a_hall("a")  # the copy ends here; a day has gone by since, and its numbers
    clock = ManualClock(MORNING + timedelta(minutes=5))
    clock.synced = False
    pending = Pending(MORNING, lost_events=800)
    async with old_copy(hall, clock, pending) as (copy, controller, _, journal):
        days = DayKeeper(controller, clock, copy.settle_when_dated)
        await days.check()
        assert await copy.leave_out_numbers()
        await copy.settle()
        await days.check()
        assert journal.pending, "which day it is nobody knows"
        clock.step_wall(86_400)
        clock.synced = True
        await days.check()
        await days.check()
        assert journal.pending is None
        assert controller.state.business_day == business_day(hall.plan, clock.now())
        hall.state = controller.state
    # What the centre said counts on this day, too.
    assert int(next_number(hall, "a")[1:]) > 50 + 400


async def test_a_date_that_was_right_all_along_costs_its_numbers_once() -> None:
    """The network comes half a minute after the start, as at every boot."""
    hall = a_hall("a")
    clock = ManualClock(MORNING)
    clock.synced = False
    pending = Pending(MORNING - timedelta(minutes=100))
    async with old_copy(hall, clock, pending) as (copy, controller, _, journal):
        assert await copy.leave_out_numbers()
        await copy.settle()
        clock.advance(30)
        clock.synced = True
        assert await copy.settle_when_dated()
        assert journal.pending is None
        assert controller.state.spent["A"] == ((1, 1 + 50 + 100),)


async def test_a_hall_whose_clock_is_never_set_leaves_a_days_numbers_out_once() -> None:
    hall = a_hall("a")
    pending = Pending(MORNING)
    for start in range(1, 6):
        clock = ManualClock(MORNING + timedelta(hours=start))
        clock.synced = False
        async with old_copy(hall, clock, pending) as (copy, controller, _, journal):
            assert await copy.leave_out_numbers()
            await copy.settle()
            assert journal.pending
            pending, hall.state = journal.pending, controller.state
    assert hall.state.spent["A"] == ((1, 1 + 50 + 60),)


async def test_a_discovery_of_the_centre_is_not_settled_by_the_date() -> None:
    """Its new epoch is still to begin."""
    hall = a_hall("a")
    clock = ManualClock(MORNING)
    clock.synced = False
    async with old_copy(hall, clock, Pending(MORNING)) as (copy, _, _, journal):
        await copy.leave_out_numbers()
        await copy.settle()
        assert await copy.leave_out_numbers()  # the centre's
        clock.synced = True
        assert await copy.settle_when_dated()
        assert journal.pending
        await copy.settle()
        assert journal.pending, "which day it was nobody knew"
        assert await copy.settle_when_dated()
        assert journal.pending is None


async def test_no_day_begins_while_its_numbers_can_not_be_left_out() -> None:
    hall = a_hall("a")
    clock = ManualClock(MORNING)
    clock.synced = False
    async with old_copy(hall, clock, Pending(MORNING)) as (copy, controller, memory, _):
        days = DayKeeper(controller, clock, copy.settle_when_dated)
        assert await copy.leave_out_numbers()
        await copy.settle()
        clock.step_wall(86_400)
        clock.synced = memory.full = True
        yesterday = controller.state.business_day
        await days.check()
        assert controller.state.business_day == yesterday
        memory.full = False
        await days.check()
        await days.check()
        assert controller.state.business_day != yesterday

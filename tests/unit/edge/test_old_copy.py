"""Which numbers are left out by a hall whose journal is an old copy that was put back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from contract.events import NumbersLeftOut
from edge.clock import ManualClock
from edge.controller import Controller
from edge.old_copy import OldCopy, count_left_out, leave_out_numbers
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
    memory = MemoryLog()
    controller = Controller(hall.plan, hall.state, 0, memory, ManualClock(MORNING))
    writer = asyncio.create_task(controller.run())
    try:
        now = hall.now
        await leave_out_numbers(controller, now, now.wall - ago, now.wall, lost_events)
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
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
    memory = MemoryLog()
    memory.full = True
    controller = Controller(hall.plan, hall.state, 0, memory, ManualClock(MORNING))
    writer = asyncio.create_task(controller.run())
    assert not await leave_out_numbers(controller, hall.now, hall.now.wall, hall.now.wall)
    memory.full = False
    assert await leave_out_numbers(controller, hall.now, hall.now.wall, hall.now.wall)
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)


async def test_a_day_that_is_not_open_yet_begins_behind_what_was_left_out() -> None:
    hall = Hall(make_plan({1: "ab"}), day_is_open=False)
    state = HallState()
    hall.state = state
    (event,) = await left_out(hall, ago=timedelta())
    assert hall.state.spent_on[event.business_day]["A"] == ((1, 50),)


class CopiedJournal:
    """It was put back, and is settled when somebody says so."""

    was_put_back = True

    def __init__(self, ended_at: datetime) -> None:
        self.ended_at = ended_at

    async def settle(self) -> None:
        self.was_put_back = False


@asynccontextmanager
async def old_copy(
    hall: Hall, clock: ManualClock, ended_at: datetime
) -> AsyncIterator[tuple[OldCopy, Controller, CopiedJournal]]:
    controller = Controller(hall.plan, hall.state, 0, MemoryLog(), clock)
    journal = CopiedJournal(ended_at)
    writer = asyncio.create_task(controller.run())
    try:
        yield OldCopy(controller, journal, clock), controller, journal
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


async def test_what_this_process_issued_itself_is_not_left_out() -> None:
    hall = a_hall("a")
    clock = ManualClock(MORNING)
    async with old_copy(hall, clock, MORNING - timedelta(minutes=10)) as (copy, controller, _):
        clock.advance(8 * 3600)
        assert await copy.leave_out_numbers(lost_events=4)
        # As many as minutes before the start, not since.
        assert controller.state.spent["A"] == ((1, 1 + 50 + 10),)


async def test_a_clock_that_nobody_has_set_does_not_settle_a_copy_of_yesterday() -> None:
    """A Raspberry Pi without a network boots with the time of its last shutdown."""
    hall = a_hall("a")  # the copy ends here; a day has gone by since, and its numbers
    clock = ManualClock(MORNING + timedelta(minutes=5))
    clock.synced = False
    async with old_copy(hall, clock, MORNING) as (copy, controller, journal):
        days = DayKeeper(controller, clock, copy.settle_when_dated)
        await days.check()
        assert await copy.leave_out_numbers()
        await copy.settle()
        await days.check()
        assert journal.was_put_back, "which day it is nobody knows"
        clock.step_wall(86_400)
        clock.synced = True
        await days.check()
        await days.check()
        assert not journal.was_put_back
        assert controller.state.business_day == business_day(hall.plan, clock.now())
        hall.state = controller.state
    assert int(next_number(hall, "a")[1:]) > 50


async def test_no_day_begins_while_its_numbers_can_not_be_left_out() -> None:
    hall = a_hall("a")
    clock = ManualClock(MORNING)
    clock.synced = False
    memory = MemoryLog()
    controller = Controller(hall.plan, hall.state, 0, memory, clock)
    writer = asyncio.create_task(controller.run())
    copy = OldCopy(controller, CopiedJournal(MORNING), clock)
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
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)

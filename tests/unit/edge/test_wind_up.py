"""A start with a configuration that no longer has a window or a service."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from contract.commands import (
    CallNext,
    Finish,
    NoShow,
    Park,
    Recall,
    RefusalReason,
    Rejoin,
    Resume,
    SignOff,
    SignOn,
    Start,
)
from contract.events import TicketCancelled, TicketFinished, TicketUnrated
from contract.names import CancelReason, TicketState, WindowState
from edge.clock import ManualClock
from edge.controller import Controller
from edge.wind_up import wind_up_removed_services, wind_up_removed_windows
from tests.support.hall import MORNING, Hall, make_plan
from tests.support.memory_log import MemoryLog


def a_hall() -> Hall:
    """Two windows that take the services a and b, and their clerks."""
    hall = Hall(make_plan({1: "ab", 2: "ab"}))
    hall.sign_on(1, 2)
    return hall


@asynccontextmanager
async def started(hall: Hall, windows: dict[int, str]) -> AsyncIterator[Hall]:
    """The hall after a start with these windows and the services that they take. What happened
    is in its events, and nothing else."""
    hall.plan, hall.events = make_plan(windows), []
    memory = MemoryLog()
    controller = Controller(hall.plan, hall.state, 0, memory, ManualClock(MORNING))
    writer = asyncio.create_task(controller.run())
    try:
        await wind_up_removed_windows(controller)
        await wind_up_removed_services(controller)
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
    hall.state, hall.events = controller.state, memory.events
    yield hall


async def test_who_waits_for_a_service_that_is_gone_is_cancelled_by_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hall = a_hall()
    gone = [hall.take_number("a"), hall.press("a")]
    stays = hall.take_number("b")
    async with started(hall, {1: "b", 2: "b"}):
        cancelled = [event for event in hall.events if isinstance(event, TicketCancelled)]
        assert [event.ticket for event in cancelled] == gone
        assert {event.reason for event in cancelled} == {CancelReason.MANAGER}
        assert list(hall.state.tickets) == [stays]
        assert hall.state.lines.count("a") == 0
        assert hall.call_next() == stays
    (said,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "service a is no longer configured" in said.getMessage()
    assert "A001, A002" in said.getMessage()


async def test_who_is_at_a_window_for_a_service_that_is_gone_is_served_to_the_end() -> None:
    hall = a_hall()
    parked, called = hall.take_number("a"), hall.take_number("a")
    hall.call_next(1)
    hall.do(Start(window=1))
    hall.do(Park(window=1))
    hall.call_next(2)
    async with started(hall, {1: "b", 2: "b"}):
        assert hall.events == []
        assert hall.state_of(called) is TicketState.CALLED
        hall.do(Start(window=2))
        hall.do(Finish(window=2))
        hall.do(Resume(window=1))
        assert hall.window(1).ticket == parked


async def test_nobody_comes_back_into_a_line_that_is_gone() -> None:
    hall = a_hall()
    ticket = hall.take_number("a")
    hall.call_next(1)
    hall.do(Recall(window=1))
    hall.pass_time(60)
    hall.do(NoShow(window=1))
    async with started(hall, {1: "b"}):
        hall.refuse(Rejoin(ticket=ticket))


async def test_who_was_called_to_a_window_that_is_gone_is_called_elsewhere() -> None:
    hall = a_hall()
    ticket = hall.take_number("a")
    hall.call_next(2)
    async with started(hall, {1: "ab"}):
        assert hall.window(2).state is WindowState.CLOSED
        assert hall.call_next(1) == ticket


async def test_a_window_and_the_service_of_its_customer_may_both_be_gone() -> None:
    hall = a_hall()
    ticket = hall.take_number("a")
    hall.call_next(2)
    async with started(hall, {1: "b"}):
        assert hall.window(2).state is WindowState.CLOSED
        assert ticket not in hall.state.tickets


async def test_a_customer_who_is_served_at_a_window_that_is_gone_was_served() -> None:
    hall = a_hall()
    ticket = hall.take_number("a")
    hall.call_next(2)
    hall.do(Start(window=2))
    async with started(hall, {1: "ab"}):
        assert [event.ticket for event in hall.events if isinstance(event, TicketFinished)] == [
            ticket
        ]
        assert hall.window(2).state is WindowState.CLOSED


async def test_who_is_asked_for_a_rating_at_a_window_that_is_gone_is_asked_no_more() -> None:
    for signed_off in (False, True):
        hall = a_hall()
        ticket = hall.take_number("a")
        hall.call_next(2)
        hall.do(Start(window=2))
        hall.do(Finish(window=2))
        if signed_off:
            hall.do(SignOff(window=2))
        assert hall.window(2).asking == ticket
        async with started(hall, {1: "ab"}):
            assert hall.window(2).asking is None
            assert hall.window(2).state is WindowState.CLOSED
            assert [event.ticket for event in hall.events if isinstance(event, TicketUnrated)] == [
                ticket
            ]


async def test_nobody_is_asked_after_a_service_that_a_window_s_removal_ended() -> None:
    hall = a_hall()
    hall.take_number("a")
    hall.call_next(2)
    hall.do(Start(window=2))
    async with started(hall, {1: "ab"}):
        assert hall.window(2).asking is None


def park(hall: Hall, window: int) -> str:
    ticket = hall.take_number("a")
    hall.call_next(window)
    hall.do(Start(window=window))
    hall.do(Park(window=window))
    return ticket


async def test_who_is_parked_at_a_window_that_is_gone_is_named_and_resumed_at_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hall = a_hall()
    stranded = [park(hall, 2)]
    hall.pass_time(60)
    stranded.append(park(hall, 2))
    hall.do(SignOff(window=2))
    hall.pass_time(60)
    own = park(hall, 1)
    async with started(hall, {1: "ab"}):
        resumed = []
        for _ in range(3):
            hall.do(Resume(window=1))
            resumed.append(hall.window(1).ticket)
            hall.do(Finish(window=1))
        assert resumed == [own, *stranded]
        assert hall.refuse(Resume(window=1)).reason is RefusalReason.NOTHING_PARKED
    (said,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "A001 (window 2), A002 (window 2)" in said.getMessage()
    assert "A003" not in said.getMessage()


async def test_who_is_parked_at_a_window_that_is_still_there_is_its_own() -> None:
    hall = a_hall()
    park(hall, 2)
    async with started(hall, {1: "ab", 2: "ab"}):
        assert hall.refuse(Resume(window=1)).reason is RefusalReason.NOTHING_PARKED


async def test_nobody_signs_on_to_a_window_that_is_gone_though_it_still_asks() -> None:
    hall = a_hall()
    hall.take_number("a")
    hall.call_next(2)
    hall.do(Start(window=2))
    hall.do(Finish(window=2))
    hall.do(SignOff(window=2))
    hall.plan = make_plan({1: "ab"})
    assert hall.refuse(SignOn(window=2, clerk="7")).reason is RefusalReason.UNKNOWN_WINDOW


async def test_a_configuration_that_still_has_all_changes_nothing() -> None:
    hall = a_hall()
    ticket = hall.take_number("a")
    async with started(hall, {1: "ab", 2: "ab"}):
        assert hall.events == []
        hall.do(CallNext(window=1))
        assert hall.window(1).ticket == ticket

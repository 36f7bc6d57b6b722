"""The one writer: durable first, shown after, and refused by name when the disk says no."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Never

import pytest

from contract.commands import (
    CallNext,
    ConfirmPrint,
    IssueTicket,
    OpenDay,
    Refusal,
    RefusalReason,
    SignOn,
)
from contract.events import ControllerStarted, HallEvent, TicketCalled, TicketIssued
from contract.names import HallPhase
from edge.clock import ManualClock
from edge.controller import MAX_GROUP, MAX_WAITING, Controller
from edge.journal.errors import Guard, JournalGuardViolated
from edge.queue.apply import apply
from edge.queue.plan import HallPlan
from edge.queue.state import HallState
from tests.support.hall import MONDAY, MORNING, make_plan, ulid
from tests.support.memory_log import MemoryLog

Make = Callable[[], Awaitable[Controller]]


@asynccontextmanager
async def writing(log: MemoryLog, plan: HallPlan | None = None) -> AsyncIterator[Controller]:
    """A controller at work. One that answers no more fails the test soon."""
    controller = Controller(plan or make_plan(), HallState(), 0, log, ManualClock(MORNING))
    writer = asyncio.create_task(controller.run())
    try:
        async with asyncio.timeout(20):
            yield controller
    finally:
        log.let_go()
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


async def open_hall(controller: Controller) -> None:
    await controller.submit(OpenDay(business_day=MONDAY))
    await controller.submit(SignOn(window=1, clerk="1"))
    await controller.submit(SignOn(window=2, clerk="2"))


async def test_a_command_is_answered_only_when_its_events_are_durable() -> None:
    log = MemoryLog()
    async with writing(log) as controller:
        log.hold()
        opening = asyncio.ensure_future(controller.submit(OpenDay(business_day=MONDAY)))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not opening.done()
        assert controller.state.phase is HallPhase.CLOSED
        log.let_go()
        await opening
        assert controller.state.phase is HallPhase.OPEN


async def test_listeners_hear_of_events_after_they_are_durable_and_in_order() -> None:
    log = MemoryLog()
    heard: list[HallEvent] = []
    async with writing(log) as controller:

        def listen(event: HallEvent, state: HallState) -> None:
            assert event in log.events
            heard.append(event)

        controller.subscribe(listen)
        await open_hall(controller)
    assert heard == log.events


async def test_two_windows_that_press_together_call_two_tickets() -> None:
    log = MemoryLog()
    async with writing(log) as controller:
        await open_hall(controller)
        for n in range(2):
            await controller.submit(IssueTicket(ticket=ulid(n), service="a"))
            await controller.submit(ConfirmPrint(ticket=ulid(n)))
        log.hold()
        calls = [asyncio.ensure_future(controller.submit(CallNext(window=w))) for w in (1, 2)]
        await asyncio.sleep(0)
        log.let_go()
        await asyncio.gather(*calls)
    called = [event for event in log.events if isinstance(event, TicketCalled)]
    assert {event.window for event in called} == {1, 2}
    assert {event.ticket for event in called} == {ulid(0), ulid(1)}


async def test_commands_that_come_together_share_one_append_and_get_their_own_answers() -> None:
    log = MemoryLog()
    async with writing(log) as controller:
        await open_hall(controller)
        before = log.appends
        log.hold()
        first = asyncio.ensure_future(controller.submit(IssueTicket(ticket=ulid(0), service="a")))
        await asyncio.sleep(0)
        rest = [
            asyncio.ensure_future(controller.submit(IssueTicket(ticket=ulid(n), service="a")))
            for n in range(1, 50)
        ]
        for _ in range(3):
            await asyncio.sleep(0)
        log.let_go()
        outcomes = await asyncio.gather(first, *rest)
    assert log.appends - before == 2
    numbers = []
    for outcome in outcomes:
        assert not isinstance(outcome, Refusal)
        assert isinstance(outcome[0], TicketIssued)
        numbers.append(outcome[0].number)
    assert len(set(numbers)) == len(numbers) == 50


async def test_a_full_disk_refuses_by_name_and_leaves_nothing_behind_and_heals() -> None:
    log = MemoryLog()
    async with writing(log) as controller:
        await open_hall(controller)
        before = controller.state
        log.full = True
        refused = await controller.submit(IssueTicket(ticket=ulid(0), service="a"))
        assert isinstance(refused, Refusal)
        assert refused.reason is RefusalReason.JOURNAL_UNAVAILABLE
        assert "full" in refused.detail
        assert controller.state is before
        assert controller.journal_refuses
        log.full = False
        issued = await controller.submit(IssueTicket(ticket=ulid(1), service="a"))
        assert not isinstance(issued, Refusal)
        assert isinstance(issued[0], TicketIssued)
        assert issued[0].number == "A001"
        assert not controller.journal_refuses


async def test_a_command_that_the_guards_stop_takes_no_other_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = MemoryLog()
    async with writing(log) as controller:
        await open_hall(controller)
        await controller.submit(IssueTicket(ticket=ulid(0), service="a"))
        await controller.submit(ConfirmPrint(ticket=ulid(0)))
        log.refuse_type = TicketCalled.type
        log.hold()
        waiting = asyncio.ensure_future(controller.submit(SignOn(window=1, clerk="9")))
        await asyncio.sleep(0)
        bad = asyncio.ensure_future(controller.submit(CallNext(window=1)))
        good = asyncio.ensure_future(controller.submit(IssueTicket(ticket=ulid(1), service="a")))
        for _ in range(3):
            await asyncio.sleep(0)
        log.let_go()
        await waiting
        with caplog.at_level(logging.CRITICAL):
            refused, issued = await asyncio.gather(bad, good)
    assert isinstance(refused, Refusal)
    assert refused.reason is RefusalReason.INTERNAL_ERROR
    assert not isinstance(issued, Refusal)
    assert "stopped by the journal" in caplog.text


async def test_a_bug_below_behind_a_guard_leaves_nobody_of_the_group_waiting() -> None:
    class Broken(MemoryLog):
        async def append(self, events: Sequence[HallEvent]) -> int:
            if len(events) > 1:
                raise JournalGuardViolated(Guard.NO_GAP)
            raise ValueError("a bug")

    log = Broken()
    controller = Controller(make_plan(), HallState(), 0, log, ManualClock(MORNING))
    started = [ControllerStarted(at=ManualClock(MORNING).now(), version="1") for _ in range(3)]
    waiting = [asyncio.ensure_future(controller.record(event)) for event in started]
    await asyncio.sleep(0)
    writer = asyncio.create_task(controller.run())
    async with asyncio.timeout(20):
        outcomes = await asyncio.gather(*waiting)
        with pytest.raises(ValueError, match="a bug"):
            await writer
    assert all(isinstance(outcome, Refusal) for outcome in outcomes)


async def test_a_bug_in_one_command_refuses_it_and_leaves_the_hall_as_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        def estimate(self, *_: object, **__: object) -> Never:
            raise ZeroDivisionError("no windows, no rate")

    plan = replace(make_plan(), estimator=Broken())
    async with writing(MemoryLog(), plan) as controller:
        await open_hall(controller)
        before = controller.state
        refused = await controller.submit(IssueTicket(ticket=ulid(0), service="a"))
        assert isinstance(refused, Refusal)
        assert refused.reason is RefusalReason.INTERNAL_ERROR
        assert controller.state is before
        assert "ZeroDivisionError" in caplog.text
        called = await controller.submit(CallNext(window=1))
        assert isinstance(called, Refusal)
        assert called.reason is RefusalReason.NOBODY_WAITING, "the hall goes on"


async def test_a_flood_beyond_the_bound_is_refused_not_kept() -> None:
    log = MemoryLog()
    async with writing(log) as controller:
        await open_hall(controller)
        log.hold()
        commands = [
            asyncio.ensure_future(controller.submit(CallNext(window=1)))
            for _ in range(MAX_WAITING + MAX_GROUP + 10)
        ]
        for _ in range(3):
            await asyncio.sleep(0)
        overflow = [c.result() for c in commands if c.done()]
        log.let_go()
        outcomes = await asyncio.gather(*commands)
    assert any(isinstance(o, Refusal) and "waiting already" in o.detail for o in overflow)
    assert len(outcomes) == len(commands)


async def test_whoever_still_waits_at_a_stop_is_refused_not_forgotten() -> None:
    log = MemoryLog()
    controller = Controller(make_plan(), HallState(), 0, log, ManualClock(MORNING))
    writer = asyncio.create_task(controller.run())
    await controller.submit(OpenDay(business_day=MONDAY))
    log.hold()
    first = asyncio.ensure_future(controller.submit(SignOn(window=1, clerk="1")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second = asyncio.ensure_future(controller.submit(SignOn(window=2, clerk="2")))
    await asyncio.sleep(0)
    writer.cancel()
    await asyncio.sleep(0)
    log.let_go()
    await asyncio.gather(writer, return_exceptions=True)
    assert not isinstance(await first, Refusal), "what was being written is answered"
    late = await second
    assert isinstance(late, Refusal)
    assert late.reason is RefusalReason.STOPPING
    after = await controller.submit(SignOn(window=2, clerk="2"))
    assert isinstance(after, Refusal)
    assert after.reason is RefusalReason.STOPPING


async def test_a_listener_that_fails_does_not_silence_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = MemoryLog()
    heard: list[HallEvent] = []
    async with writing(log) as controller:

        def broken(event: HallEvent, state: HallState) -> None:
            raise RuntimeError("broken listener")

        controller.subscribe(broken)
        controller.subscribe(lambda event, state: heard.append(event))
        outcome = await controller.submit(OpenDay(business_day=MONDAY))
    assert not isinstance(outcome, Refusal)
    assert heard == list(outcome)
    assert "broken listener" in caplog.text


async def test_the_state_is_what_the_durable_events_make() -> None:
    log = MemoryLog()
    async with writing(log) as controller:
        await open_hall(controller)
        for n in range(5):
            await controller.submit(IssueTicket(ticket=ulid(n), service="a"))
            await controller.submit(ConfirmPrint(ticket=ulid(n)))
        await controller.submit(CallNext(window=2))
        state = HallState()
        for event in log.events:
            state = apply(state, event)
        assert controller.state == state
        assert controller.position == len(log.events)


async def test_a_bug_below_the_writer_ends_it_and_leaves_nobody_waiting() -> None:
    class Broken(MemoryLog):
        async def append(self, events: Sequence[HallEvent]) -> int:
            raise ZeroDivisionError

    controller = Controller(make_plan(), HallState(), 0, Broken(), ManualClock(MORNING))
    writer = asyncio.create_task(controller.run())
    async with asyncio.timeout(20):
        outcome = await controller.submit(OpenDay(business_day=MONDAY))
        assert isinstance(outcome, Refusal)
        assert "ZeroDivisionError" in outcome.detail
        with pytest.raises(ZeroDivisionError):
            await writer

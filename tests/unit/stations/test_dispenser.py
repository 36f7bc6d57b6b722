"""The ticket dispenser: a button becomes a number, paper and a place in line, or a refusal."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from itertools import count

import pytest

from contract.commands import ConfirmPrint, IssueTicket, OpenDay, Refusal, Rejoin, SignOn
from contract.events import TicketIssued, TicketPrinted, TicketVoided, WaitEstimated
from contract.names import DeviceStatus, Language, TicketState, Tier, VoidReason
from edge import words
from edge.clock import ManualClock
from edge.controller import Controller
from edge.drivers.roles import LampPattern
from edge.queue.state import HallState
from edge.stations.dispenser import (
    MAX_JOBS,
    ButtonMeaning,
    Dispenser,
    PrintRules,
    SlipDesign,
    meaning_of,
)
from tests.support.devices import MemoryKeypad, MemoryPrinter
from tests.support.hall import MONDAY, MORNING, make_plan, ulid
from tests.support.memory_log import MemoryLog

DESIGN = SlipDesign(
    hall="riverside",
    hall_name={Language.ZH: "滨江营业厅"},
    service_names={"a": {Language.ZH: "缴费"}},
    languages=(Language.ZH, Language.EN),
    ticket_url="nowserving:{hall}/{ticket}",
)


@dataclass
class Scene:
    controller: Controller
    clock: ManualClock
    log: MemoryLog
    buttons: MemoryKeypad = field(default_factory=MemoryKeypad)
    printer: MemoryPrinter = field(default_factory=MemoryPrinter)
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    design: SlipDesign = DESIGN

    def start(self) -> Dispenser:
        ids = count(100)
        dispenser = Dispenser(
            self.controller,
            self.clock,
            keypads=[self.buttons],
            printer=self.printer,
            design=self.design,
            rules=PrintRules(time_to_live_seconds=30, reprint_within_seconds=60),
            new_ticket_id=lambda: ulid(next(ids)),
        )
        self.tasks.append(asyncio.create_task(dispenser.run()))
        return dispenser

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0)

    def happened(self, kind: type) -> list[object]:
        return [event for event in self.log.events if isinstance(event, kind)]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    log, clock = MemoryLog(), ManualClock(MORNING)
    controller = Controller(make_plan({1: "a"}), HallState(), 0, log, clock)
    scene = Scene(controller, clock, log)
    scene.tasks.append(asyncio.create_task(controller.run()))
    await controller.submit(OpenDay(business_day=MONDAY))
    yield scene
    for task in scene.tasks:
        task.cancel()
    await asyncio.gather(*scene.tasks, return_exceptions=True)


async def test_a_press_becomes_a_number_paper_and_a_place_in_line(scene: Scene) -> None:
    scene.start()
    assert await scene.buttons.press_and_see("a") == "accepted"
    await scene.until(lambda: bool(scene.happened(TicketPrinted)))
    (slip,) = scene.printer.paper
    assert slip.number == "A001"
    assert slip.qr == f"nowserving:riverside/{slip.ticket_id}"
    assert not scene.printer.scrap_expected, "nothing was printing before"
    assert not slip.reprint
    assert scene.controller.state.lines.count("a") == 1


async def test_the_slip_tells_the_wait_that_was_estimated_as_a_range(scene: Scene) -> None:
    await scene.controller.submit(SignOn(window=1, clerk="1001"))
    for n in range(3):
        await scene.controller.submit(IssueTicket(ticket=ulid(n), service="a"))
        await scene.controller.submit(ConfirmPrint(ticket=ulid(n)))
    scene.start()
    assert await scene.buttons.press_and_see("a") == "accepted"
    await scene.until(lambda: bool(scene.printer.paper))
    (slip,) = scene.printer.paper
    estimated = scene.happened(WaitEstimated)[-1]
    assert isinstance(estimated, WaitEstimated)
    assert slip.ahead == estimated.ahead == 3
    assert slip.wait_minutes == words.minutes(estimated)
    about, at_most = slip.wait_minutes or (0, 0)
    assert 0 < about < at_most


async def test_nobody_waits_before_the_paper_is_out(scene: Scene) -> None:
    scene.printer.paper_out()
    scene.start()
    await scene.buttons.press_and_see("a")
    assert scene.happened(TicketIssued)
    assert scene.controller.state.lines.count("a") == 0
    scene.printer.refill()
    await scene.until(lambda: scene.controller.state.lines.count("a") == 1)


async def test_paper_that_never_comes_voids_the_ticket_and_says_so(scene: Scene) -> None:
    scene.printer.paper_out()
    scene.start()
    await scene.buttons.press_and_see("a")
    scene.printer.time_is_over()
    assert await scene.buttons.answer() == "refused"
    (voided,) = scene.happened(TicketVoided)
    assert isinstance(voided, TicketVoided)
    assert voided.reason is VoidReason.PAPER_OUT
    assert not scene.controller.state.tickets


async def test_without_paper_no_number_is_spent(scene: Scene) -> None:
    dispenser = scene.start()
    scene.printer.status = DeviceStatus.PAPER_OUT
    dispenser.printer_changed()
    assert scene.buttons.lamp("no_paper") is LampPattern.ON
    assert scene.buttons.lamp("ready") is LampPattern.OFF
    assert await scene.buttons.press_and_see("a") == "refused"
    assert not scene.happened(TicketIssued)


async def test_paper_low_still_prints(scene: Scene) -> None:
    scene.start()
    scene.printer.status = DeviceStatus.PAPER_LOW
    assert await scene.buttons.press_and_see("a") == "accepted"


async def test_no_more_slips_wait_than_a_printer_soon_prints(scene: Scene) -> None:
    scene.printer.paper_out()
    scene.start()
    assert await scene.buttons.press_and_see("a") == "accepted"
    await scene.until(lambda: bool(scene.printer.asked_for_seconds))  # it waits no more
    for _ in range(MAX_JOBS):
        assert await scene.buttons.press_and_see("a") == "accepted"
    assert await scene.buttons.press_and_see("a") == "refused"
    assert len(scene.happened(TicketIssued)) == 1 + MAX_JOBS, "no number is spent on a refusal"
    scene.printer.refill()
    await scene.until(lambda: len(scene.happened(TicketPrinted)) == 1 + MAX_JOBS)
    assert await scene.buttons.press_and_see("a") == "accepted"


async def test_an_unknown_printer_is_not_taken_for_a_working_one(scene: Scene) -> None:
    scene.start()
    scene.printer.status = DeviceStatus.UNKNOWN
    assert await scene.buttons.press_and_see("a") == "refused"


async def test_a_full_disk_refuses_the_press_and_prints_nothing(scene: Scene) -> None:
    scene.start()
    scene.log.full = True
    assert await scene.buttons.press_and_see("a") == "refused"
    assert not scene.printer.paper


async def test_paper_is_told_again_until_the_journal_has_it(scene: Scene) -> None:
    scene.printer.paper_out()
    scene.start()
    await scene.buttons.press_and_see("a")
    scene.log.full = True
    scene.printer.refill()
    await scene.until(lambda: scene.controller.journal_refuses)
    scene.log.full = False
    await scene.until(lambda: bool(scene.happened(TicketPrinted)))


async def test_after_a_restart_a_young_unconfirmed_slip_is_printed_again_and_marked(
    scene: Scene,
) -> None:
    await scene.controller.submit(IssueTicket(ticket=ulid(1), service="a"))
    scene.clock.advance(59)
    scene.start()
    await scene.until(lambda: bool(scene.happened(TicketPrinted)))
    (slip,) = scene.printer.paper
    assert slip.ahead == 0, "they are not before themselves"
    assert scene.printer.scrap_expected, "half of it may hang in the slot"
    assert slip.reprint
    assert slip.number == "A001"


async def test_a_reprint_that_fails_is_no_proof_that_there_is_no_paper(scene: Scene) -> None:
    await scene.controller.submit(IssueTicket(ticket=ulid(1), service="a"))
    scene.printer.paper_out()
    scene.start()
    await scene.until(lambda: scene.printer.scrap_expected)
    scene.printer.time_is_over()
    await scene.until(lambda: bool(scene.happened(TicketVoided)))
    (voided,) = scene.happened(TicketVoided)
    assert isinstance(voided, TicketVoided)
    assert voided.reason is VoidReason.UNCONFIRMED
    back = await scene.controller.submit(Rejoin(ticket=ulid(1)))
    assert not isinstance(back, Refusal), "who holds the first copy stands in line again"


async def test_after_a_long_stop_an_unconfirmed_slip_is_voided_but_may_come_back(
    scene: Scene,
) -> None:
    await scene.controller.submit(IssueTicket(ticket=ulid(1), service="a"))
    scene.clock.advance(61)
    scene.start()
    await scene.until(lambda: bool(scene.happened(TicketVoided)))
    assert scene.controller.state.tickets[ulid(1)].state is TicketState.VOIDED
    assert not scene.printer.paper


async def test_a_slip_lives_from_the_press_not_from_its_turn_at_the_printer(scene: Scene) -> None:
    scene.printer.paper_out()
    scene.start()
    await scene.buttons.press_and_see("a")
    await scene.buttons.press_and_see("a")
    await scene.until(lambda: len(scene.printer.asked_for_seconds) == 1)
    waited = 0.2
    await asyncio.sleep(waited)
    scene.printer.refill()
    await scene.until(lambda: len(scene.printer.paper) == 2)
    _, second = scene.printer.asked_for_seconds
    assert second <= 30 - waited


async def test_a_slip_whose_service_is_gone_is_voided_not_printed(scene: Scene) -> None:
    await scene.controller.submit(IssueTicket(ticket=ulid(1), service="a"))
    scene.design = replace(DESIGN, service_names={})
    scene.start()
    await scene.until(lambda: bool(scene.happened(TicketVoided)))
    assert not scene.printer.paper


def test_a_button_is_named_by_its_service_or_by_service_and_tier() -> None:
    services = ("payment", "new-connection")
    assert meaning_of("payment", services) == ButtonMeaning("payment")
    assert meaning_of("new-connection", services) == ButtonMeaning("new-connection")
    assert meaning_of("payment-priority", services) == ButtonMeaning("payment", Tier.PRIORITY)
    assert meaning_of("payment-vip-gold", services) == ButtonMeaning("payment", Tier.VIP_GOLD)
    assert meaning_of("coffee", services) is None

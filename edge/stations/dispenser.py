"""The ticket dispenser (取号机): a button becomes a number on disk, paper, and a place in line.

A number is issued only while a press would become paper. If the paper fails, the ticket is voided:
nobody waits under a number that nobody holds.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from contract.commands import (
    ConfirmPrint,
    FailPrint,
    IssueTicket,
    Refusal,
    RefusalReason,
)
from contract.events import TicketIssued, WaitEstimated
from contract.names import (
    DeviceStatus,
    HallId,
    Language,
    Moment,
    ServiceId,
    TicketId,
    TicketNumber,
    TicketState,
    Tier,
    VoidReason,
)
from edge import words
from edge.clock import Clock
from edge.controller import Controller
from edge.drivers.roles import (
    Keypad,
    LampPattern,
    Printed,
    PrintOutcome,
    Slip,
    TicketPrinter,
)
from edge.queue.plan import WaitEstimate
from edge.queue.state import Ticket
from edge.stations.presses import REFUSED, Outcome, Presses

log = logging.getLogger(__name__)

PRINTABLE = frozenset({DeviceStatus.ONLINE, DeviceStatus.PAPER_LOW})

READY = "ready"
"""Lamp: a press would become paper."""
NO_PAPER = "no_paper"
"""Lamp: it would not."""

MAX_JOBS = 20
"""Slips that may wait for the printer."""

_PASSING = frozenset({RefusalReason.JOURNAL_UNAVAILABLE, RefusalReason.OVERLOADED})
"""Refusals that say nothing of the ticket."""

RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Between attempts to say what became of a slip while the journal can't be written."""


@dataclass(frozen=True, slots=True)
class ButtonMeaning:
    """What a button of the dispenser stands for."""

    service: ServiceId
    tier: Tier = Tier.NORMAL


def meaning_of(key: str, services: Sequence[ServiceId]) -> ButtonMeaning | None:
    """A key is named by its service, or by service and tier: ``payment``, ``payment-priority``.

    ``None`` where it is neither.
    """
    if key in services:
        return ButtonMeaning(key)
    for tier in Tier:
        service = key.removesuffix(f"-{tier}".replace("_", "-"))
        if service != key and service in services:
            return ButtonMeaning(service, tier)
    return None


@dataclass(frozen=True, slots=True)
class SlipDesign:
    """What stands on every slip of a hall."""

    hall: HallId
    hall_name: Mapping[Language, str]
    service_names: Mapping[ServiceId, Mapping[Language, str]]
    languages: tuple[Language, ...]
    ticket_url: str
    """Text behind the QR code, with ``{hall}`` and ``{ticket}`` in it."""


@dataclass(frozen=True, slots=True)
class PrintRules:
    time_to_live_seconds: float = 30.0
    """A slip that isn't out by then (no paper) is voided. Device time."""
    reprint_within_seconds: float = 60.0
    """After a restart, a slip that nobody can tell about is printed again if it is so young that
    its customer still stands there; an older one is voided. Hall time."""


@dataclass(frozen=True, slots=True)
class _Job:
    slip: Slip
    deadline: float
    """In the event loop's time."""


class Dispenser:
    """Buttons and one printer."""

    def __init__(
        self,
        controller: Controller,
        clock: Clock,
        *,
        keypads: Sequence[Keypad],
        printer: TicketPrinter,
        design: SlipDesign,
        rules: PrintRules,
        new_ticket_id: Callable[[], str],
    ) -> None:
        self._controller = controller
        self._clock = clock
        self._keypads = keypads
        self._printer = printer
        self._design = design
        self._rules = rules
        self._new_ticket_id = new_ticket_id
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue()
        self._services = tuple(controller.plan.services)
        self.presses = [Presses(keypad, self._button) for keypad in keypads]
        if self._unconfirmed():
            printer.expect_scrap()

    async def run(self) -> None:
        """Serve buttons and printer until cancelled; what was printing before comes first."""
        too_old = self._take_up_unconfirmed()
        async with asyncio.TaskGroup() as tasks:
            for command in too_old:
                tasks.create_task(self._settle(command))
            tasks.create_task(self._print_jobs())
            for presses in self.presses:
                tasks.create_task(presses.run())

    def printer_changed(self) -> None:
        """Show at the buttons whether a press would become paper."""
        printable = self._printer.available() in PRINTABLE
        for keypad in self._keypads:
            keypad.set_lamp(READY, LampPattern.ON if printable else LampPattern.OFF)
            keypad.set_lamp(NO_PAPER, LampPattern.OFF if printable else LampPattern.ON)

    async def _button(self, key: str) -> Outcome:
        meaning = meaning_of(key, self._services)
        if meaning is None:
            return Refusal(reason=RefusalReason.UNKNOWN_SERVICE, command="issue_ticket", detail=key)
        status = self._printer.available()
        if status not in PRINTABLE or self._jobs.qsize() >= MAX_JOBS:
            detail = status.value if status not in PRINTABLE else f"{MAX_JOBS} slips are waiting"
            return Refusal(
                reason=RefusalReason.PRINTER_UNAVAILABLE, command="issue_ticket", detail=detail
            )
        outcome = await self._controller.submit(
            IssueTicket(
                ticket=self._new_ticket_id(),
                service=meaning.service,
                tier=meaning.tier,
                language=self._design.languages[0],
            )
        )
        if not isinstance(outcome, Refusal):
            issued = next(event for event in outcome if isinstance(event, TicketIssued))
            estimate = next(event for event in outcome if isinstance(event, WaitEstimated))
            slip = self._slip(issued.ticket, issued.number, issued.service, issued.at, estimate)
            self._queue(slip)
        return outcome

    def _queue(self, slip: Slip) -> None:
        """Its time to live begins here: nobody waits for paper longer because others do, too."""
        deadline = asyncio.get_running_loop().time() + self._rules.time_to_live_seconds
        self._jobs.put_nowait(_Job(slip, deadline))

    async def _print_jobs(self) -> None:
        while True:
            job = await self._jobs.get()
            slip = job.slip
            printed = await self._print(job)
            if printed.result is Printed.PRINTED:
                await self._settle(ConfirmPrint(ticket=slip.ticket_id))
                continue
            reason = printed.reason or VoidReason.PRINTER_FAULT
            if slip.reprint:  # the first copy may have come out: its holder may come back with it
                reason = VoidReason.UNCONFIRMED
            log.warning("%s was not printed: %s", slip.number, reason)
            await self._settle(FailPrint(ticket=slip.ticket_id, reason=reason))
            for keypad in self._keypads:
                keypad.set_lamp(REFUSED, LampPattern.FLASH)

    async def _print(self, job: "_Job") -> PrintOutcome:
        left_seconds = job.deadline - asyncio.get_running_loop().time()
        if left_seconds <= 0:
            return PrintOutcome(Printed.FAILED, VoidReason.EXPIRED)
        return await self._printer.print_slip(job.slip, left_seconds)

    async def _settle(self, command: ConfirmPrint | FailPrint) -> None:
        """Paper is a fact: it is told again until the journal has it."""
        attempt = 0
        while True:
            outcome = await self._controller.submit(command)
            if not isinstance(outcome, Refusal):
                return
            if outcome.reason not in _PASSING:
                # The ticket ended meanwhile (day closed, cancelled), or we are stopping.
                log.warning("%s", outcome)
                return
            await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            attempt += 1

    def _take_up_unconfirmed(self) -> list[FailPrint]:
        """The daemon stopped while these printed, and nobody can tell whether they came out: the
        young ones are printed again, the others are to be voided."""
        now = self._clock.now()
        too_old = []
        for ticket in sorted(self._unconfirmed(), key=lambda ticket: ticket.place):
            age = now.seconds_since(ticket.issued)
            known = ticket.service in self._design.service_names
            if known and age is not None and age <= self._rules.reprint_within_seconds:
                self._queue(self._slip_again(ticket))
            else:
                too_old.append(FailPrint(ticket=ticket.id, reason=VoidReason.UNCONFIRMED))
        return too_old

    def _unconfirmed(self) -> list[Ticket]:
        tickets = self._controller.state.tickets.values()
        return [ticket for ticket in tickets if ticket.state is TicketState.PRINTING]

    def _slip_again(self, ticket: Ticket) -> Slip:
        """The same number once more, marked; the wait is what it is now."""
        plan, state = self._controller.plan, self._controller.state
        estimate = plan.estimator.estimate(
            plan, state, ticket.service, ticket.tier, self._clock.now(), place=ticket.place
        )
        slip = self._slip(ticket.id, ticket.number, ticket.service, ticket.issued, estimate)
        return replace(slip, reprint=True)

    def _slip(
        self,
        ticket: TicketId,
        number: TicketNumber,
        service: ServiceId,
        issued: Moment,
        estimate: WaitEstimate | WaitEstimated,
    ) -> Slip:
        design = self._design
        return Slip(
            ticket_id=ticket,
            number=number,
            hall_name=design.hall_name,
            service_name=design.service_names[service],
            issued_at=issued.wall.astimezone(self._controller.plan.time_zone),
            ahead=estimate.ahead,
            wait_minutes=words.minutes(estimate),
            languages=design.languages,
            qr=design.ticket_url.format(hall=design.hall, ticket=ticket),
        )

"""A start winds up, loudly and by ordinary commands, what the configuration no longer has."""

import logging

from contract.commands import (
    Cancel,
    CloseRating,
    Command,
    Finish,
    Refusal,
    SignOff,
    Transfer,
)
from contract.names import CancelReason, ServiceId, TicketState, WindowNumber, WindowState
from edge.controller import Controller
from edge.queue.state import Ticket, Window

log = logging.getLogger(__name__)


async def wind_up_removed_windows(controller: Controller) -> None:
    """A window that is no longer configured is left: its customer goes back into the line or was
    served, its evaluator asks nobody, its clerk is free to sit elsewhere. Who is parked there stays
    so: Resume at any window takes them back, once its own are, and the log has their numbers."""
    removed = set(controller.state.windows) - set(controller.plan.windows)
    for number in sorted(removed):
        await _wind_up_window(controller, number)
    parked = [
        f"{ticket.number} (window {ticket.window})"
        for ticket in controller.state.tickets.values()
        if ticket.state is TicketState.PARKED and ticket.window in removed
    ]
    if parked:
        log.error(
            "parked at a window that is no longer configured, Resume at another takes them back: "
            "%s",
            ", ".join(parked),
        )


async def _wind_up_window(controller: Controller, number: WindowNumber) -> None:
    window = controller.state.window(number)
    if window.state is not WindowState.CLOSED:
        log.warning("window %d is no longer configured, closing it", number)
    if window.state is WindowState.SERVING:
        await _do(controller, Finish(window=number))
    if window.state is WindowState.CALLING:
        await _do(controller, _leave(controller, window))
    asking = controller.state.window(number).asking
    if asking is not None:  # also about who was served until now
        await _do(controller, CloseRating(window=number, ticket=asking))
    if window.state is not WindowState.CLOSED:
        await _do(controller, SignOff(window=number))


async def wind_up_removed_services(controller: Controller) -> None:
    """Who waits for a service that is no longer configured is cancelled by name, because nobody
    would ever call them. Who is at a window is served to the end, and a clerk who has parked
    somebody takes them back."""
    stranded: dict[ServiceId, list[Ticket]] = {}
    for ticket in controller.state.tickets.values():
        waits = ticket.state in {TicketState.WAITING, TicketState.PRINTING}
        if waits and ticket.service not in controller.plan.services:
            stranded.setdefault(ticket.service, []).append(ticket)
    for service, tickets in stranded.items():
        log.error(
            "service %s is no longer configured: who waits for it must take a new number: %s",
            service,
            ", ".join(ticket.number for ticket in tickets),
        )
        for ticket in tickets:
            await _do(controller, Cancel(ticket=ticket.id, reason=CancelReason.MANAGER))


def _leave(controller: Controller, window: Window) -> Command:
    """What becomes of who was called to ``window``."""
    assert window.ticket is not None, "a calling window holds a ticket"
    ticket = controller.state.tickets[window.ticket]
    if ticket.service in controller.plan.services:
        return Transfer(window=window.number, to_service=ticket.service)
    log.error("%s was called for a service that is no longer configured", ticket.number)
    return Cancel(ticket=ticket.id, reason=CancelReason.MANAGER)


async def _do(controller: Controller, command: Command) -> None:
    outcome = await controller.submit(command)
    if isinstance(outcome, Refusal):
        log.error("what is no longer configured can't be wound up: %s", outcome)

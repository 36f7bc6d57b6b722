"""The state machines of ticket, window and hall. All transitions are here and nowhere else.

Each table reads: in this state, this event leads to that state. What is not in the table can't
happen: ``decide`` refuses the command that would make it, and ``apply`` raises ``ImpossibleEvent``.
This is the usual way; docs/reference/state-machines.md has all of them, drawn from these tables
by ``python -m tools.diagrams``:

    ticket    printing → waiting → called → serving → finished
    window    closed → idle → calling → serving → idle → closed
    hall      closed → open → closed
"""

from collections.abc import Mapping

from contract.events import (
    DayClosed,
    DayOpened,
    HallEvent,
    TicketCalled,
    TicketCancelled,
    TicketFinished,
    TicketIssued,
    TicketNoShow,
    TicketParked,
    TicketPrinted,
    TicketRecalled,
    TicketRejoined,
    TicketResumed,
    TicketStarted,
    TicketTransferred,
    TicketVoided,
    WindowClosed,
    WindowOpened,
    WindowPaused,
    WindowReopened,
)
from contract.names import HallPhase, TicketState, WindowState

TICKET: Mapping[TicketState | None, Mapping[type[HallEvent], TicketState]] = {
    None: {
        TicketIssued: TicketState.PRINTING,
    },
    TicketState.PRINTING: {
        TicketPrinted: TicketState.WAITING,
        TicketVoided: TicketState.VOIDED,
        TicketCancelled: TicketState.CANCELLED,
    },
    TicketState.WAITING: {
        TicketCalled: TicketState.CALLED,
        TicketCancelled: TicketState.CANCELLED,
    },
    TicketState.CALLED: {
        TicketRecalled: TicketState.CALLED,
        TicketStarted: TicketState.SERVING,
        TicketNoShow: TicketState.NO_SHOW,
        TicketTransferred: TicketState.WAITING,
        TicketCancelled: TicketState.CANCELLED,
    },
    TicketState.SERVING: {
        TicketFinished: TicketState.FINISHED,
        TicketTransferred: TicketState.WAITING,
        TicketParked: TicketState.PARKED,
    },
    TicketState.PARKED: {
        TicketResumed: TicketState.SERVING,
        TicketCancelled: TicketState.CANCELLED,
    },
    TicketState.NO_SHOW: {
        TicketRejoined: TicketState.WAITING,
    },
    # A ticket that was voided because nobody could tell may turn out to have paper after all.
    TicketState.VOIDED: {
        TicketRejoined: TicketState.WAITING,
    },
    TicketState.FINISHED: {},
    TicketState.CANCELLED: {},
}

ENDED = frozenset(
    {TicketState.NO_SHOW, TicketState.FINISHED, TicketState.VOIDED, TicketState.CANCELLED}
)
"""A ticket in one of these has ended, though a no-show may rejoin while the day lasts."""

WINDOW: Mapping[WindowState, Mapping[type[HallEvent], WindowState]] = {
    WindowState.CLOSED: {
        WindowOpened: WindowState.IDLE,
    },
    WindowState.IDLE: {
        TicketCalled: WindowState.CALLING,
        TicketResumed: WindowState.SERVING,
        WindowPaused: WindowState.PAUSED,
        WindowClosed: WindowState.CLOSED,
    },
    WindowState.PAUSED: {
        WindowReopened: WindowState.IDLE,
        WindowClosed: WindowState.CLOSED,
    },
    WindowState.CALLING: {
        TicketRecalled: WindowState.CALLING,
        TicketStarted: WindowState.SERVING,
        TicketNoShow: WindowState.IDLE,
        TicketTransferred: WindowState.IDLE,
        TicketCancelled: WindowState.IDLE,
    },
    WindowState.SERVING: {
        TicketFinished: WindowState.IDLE,
        TicketTransferred: WindowState.IDLE,
        TicketParked: WindowState.IDLE,
    },
}

HALL: Mapping[HallPhase, Mapping[type[HallEvent], HallPhase]] = {
    HallPhase.CLOSED: {DayOpened: HallPhase.OPEN},
    HallPhase.OPEN: {DayClosed: HallPhase.CLOSED},
}


class ImpossibleEvent(Exception):
    """An event that the tables do not allow was applied: a bug, or a journal that was altered."""

    def __init__(self, event: HallEvent, state: object) -> None:
        super().__init__(f"{event.type} can't happen in state {state}: {event!r}")

"""What an event does to the state: the same events give the same state, on any machine."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from contract.events import (
    AtWindow,
    DayClosed,
    DayOpened,
    HallEvent,
    NumbersLeftOut,
    TicketCalled,
    TicketCancelled,
    TicketEvent,
    TicketFinished,
    TicketIssued,
    TicketNoShow,
    TicketParked,
    TicketPrinted,
    TicketRated,
    TicketRecalled,
    TicketRejoined,
    TicketResumed,
    TicketStarted,
    TicketTransferred,
    TicketUnrated,
    TicketVoided,
    WindowClosed,
    WindowEvent,
    WindowOpened,
    WindowPaused,
    WindowReopened,
)
from contract.names import Moment, TicketState, VoidReason, WindowState
from edge.queue.machines import HALL, TICKET, WINDOW, ImpossibleEvent
from edge.queue.numbers import Runs, with_number, with_run
from edge.queue.state import HallState, ServiceTimes, Ticket, Window, newest_days


def apply(state: HallState, event: HallEvent) -> HallState:
    """The state after ``event``. Events that the queue has no use for leave it as it is.

    Raises ``ImpossibleEvent`` where the state machines do not allow it.
    """
    effect = _EFFECTS.get(type(event))
    return state if effect is None else effect(state, event)


def _day_opened(state: HallState, event: DayOpened) -> HallState:
    """Numbers start anew, or behind those that are spent where the day has been open before."""
    spent_on = dict(state.spent_on)
    if state.business_day is not None:
        spent_on = dict(newest_days({**spent_on, state.business_day: state.spent}))
    return HallState(
        phase=_step(HALL, state.phase, event),
        business_day=event.business_day,
        spent=spent_on.pop(event.business_day, {}),
        spent_on=spent_on,
        windows=state.windows,
        service_times=state.service_times,
    )


def _day_closed(state: HallState, event: DayClosed) -> HallState:
    """Every ticket has ended and every window was left: nothing of them goes into the next day."""
    return HallState(
        phase=_step(HALL, state.phase, event),
        business_day=event.business_day,
        spent=state.spent,
        spent_on=state.spent_on,
        service_times=state.service_times,
    )


def _left_out(state: HallState, event: NumbersLeftOut) -> HallState:
    spent: dict[str, Runs] = {}
    for run in event.runs:
        spent[run.prefix] = with_run(spent.get(run.prefix, ()), run.first, run.last)
    return state.with_spent(event.business_day, spent)


def _issued(state: HallState, event: TicketIssued) -> HallState:
    if event.ticket in state.tickets:
        raise ImpossibleEvent(event, "ticket exists")
    ticket = Ticket(
        id=event.ticket,
        number=event.number,
        business_day=event.business_day,
        service=event.service,
        tier=event.tier,
        language=event.language,
        state=_step(TICKET, None, event),
        place=event.place.key,
        issued=event.at,
    )
    return replace(
        state,
        tickets={**state.tickets, ticket.id: ticket},
        spent=with_number(state.spent, event.number),
        anchor=max(state.anchor, event.place.anchor),
    )


def _joined(state: HallState, event: TicketPrinted | TicketRejoined) -> HallState:
    """Into the line: for the first time, or again."""
    ticket = _ticket(state, event)
    place = event.place.key if isinstance(event, TicketRejoined) else ticket.place
    waiting = replace(
        ticket, state=_step(TICKET, ticket.state, event), place=place, window=None, clerk=None
    )
    return state.having(ticket=waiting, lines=state.lines.add(waiting.waiting(), waiting.to_window))


def _voided(state: HallState, event: TicketVoided) -> HallState:
    ticket = _ticket(state, event)
    voided = replace(ticket, state=_step(TICKET, ticket.state, event))
    if event.reason is VoidReason.UNCONFIRMED:
        return state.having(ticket=voided)  # it may have paper after all, and rejoin
    return state.without(voided)


def _called(state: HallState, event: TicketCalled) -> HallState:
    ticket = _ticket(state, event)
    called = replace(
        ticket,
        state=_step(TICKET, ticket.state, event),
        first_called=ticket.first_called or event.at,
        called=event.at,
        calls=1,
        window=event.window,
        clerk=event.clerk,
        to_window=None,
    )
    return state.having(
        ticket=called,
        window=_at_window(state, event, ticket=ticket.id),
        lines=state.lines.take(ticket.id, ticket.service, ticket.tier, ticket.to_window),
    )


def _recalled(state: HallState, event: TicketRecalled) -> HallState:
    ticket = _ticket(state, event)
    recalled = replace(ticket, state=_step(TICKET, ticket.state, event), calls=event.calls)
    return state.having(ticket=recalled, window=_at_window(state, event, ticket=ticket.id))


def _started(state: HallState, event: TicketStarted) -> HallState:
    ticket = _ticket(state, event)
    started = replace(ticket, state=_step(TICKET, ticket.state, event), started=event.at)
    return state.having(ticket=started, window=_at_window(state, event, ticket=ticket.id))


def _finished(state: HallState, event: TicketFinished) -> HallState:
    ticket = _ticket(state, event)
    finished = replace(ticket, state=_step(TICKET, ticket.state, event))
    window = replace(_at_window(state, event, ticket=None), asking=ticket.id)
    state = state.having(ticket=finished, window=window)
    if event.service_seconds is None:
        return state
    known = state.service_times.get(event.service, ServiceTimes(0.0, 0.0))
    times = {**state.service_times, event.service: known.seen(event.service_seconds)}
    return replace(state, service_times=times)


def _no_show(state: HallState, event: TicketNoShow) -> HallState:
    ticket = _ticket(state, event)
    gone = replace(ticket, state=_step(TICKET, ticket.state, event), window=None, clerk=None)
    return state.having(ticket=gone, window=_at_window(state, event, ticket=None))


def _transferred(state: HallState, event: TicketTransferred) -> HallState:
    ticket = _ticket(state, event)
    waiting = replace(
        ticket,
        state=_step(TICKET, ticket.state, event),
        service=event.service,
        to_window=event.to_window,
        served_seconds=0.0,
        started=None,
        window=None,
        clerk=None,
    )
    return state.having(
        ticket=waiting,
        window=_at_window(state, event, ticket=None),
        lines=state.lines.add(waiting.waiting(), waiting.to_window),
    )


def _parked(state: HallState, event: TicketParked) -> HallState:
    ticket = _ticket(state, event)
    parked = replace(
        ticket,
        state=_step(TICKET, ticket.state, event),
        served_seconds=served_seconds(ticket, event.at),
        started=None,
        parked=event.at,
    )
    return state.having(ticket=parked, window=_at_window(state, event, ticket=None))


def _resumed(state: HallState, event: TicketResumed) -> HallState:
    ticket = _ticket(state, event)
    serving = replace(
        ticket,
        state=_step(TICKET, ticket.state, event),
        started=event.at,
        parked=None,
        window=event.window,
        clerk=event.clerk,
    )
    return state.having(ticket=serving, window=_at_window(state, event, ticket=ticket.id))


def _cancelled(state: HallState, event: TicketCancelled) -> HallState:
    ticket = _ticket(state, event)
    cancelled = replace(ticket, state=_step(TICKET, ticket.state, event))
    if ticket.state is TicketState.CALLED and ticket.window is not None:
        window = state.window(ticket.window)
        window = replace(window, state=_step(WINDOW, window.state, event), ticket=None)
        state = state.having(window=window)
    if ticket.state is TicketState.WAITING:
        lines = state.lines.take(ticket.id, ticket.service, ticket.tier, ticket.to_window)
        state = state.having(lines=lines)
    return state.without(cancelled)


def _rating_ended(state: HallState, event: TicketRated | TicketUnrated) -> HallState:
    window = state.window(event.window)
    if window.asking != event.ticket:
        raise ImpossibleEvent(event, f"window asks about {window.asking}")
    rated = event.ticket if isinstance(event, TicketRated) else None
    state = state.having(window=replace(window, asking=None, rated=rated))
    return state.without(_ticket(state, event))


def _window_changed(state: HallState, event: WindowEvent) -> HallState:
    window = state.window(event.window)
    after = _step(WINDOW, window.state, event)
    if after is not WindowState.CLOSED:
        return state.having(window=replace(window, state=after, clerk=event.clerk))
    state = state.having(window=replace(window, state=after, clerk=None))
    return _released(state, window)


def _released(state: HallState, window: Window) -> HallState:
    """Who waited for this window alone waits for his service again: nobody else would call him."""
    own = state.lines.by_window.get(window.number, ())
    for waiting in own:
        ticket = replace(state.tickets[waiting.ticket], to_window=None)
        lines = state.lines.take(ticket.id, ticket.service, ticket.tier, window.number)
        state = state.having(ticket=ticket, lines=lines.add(waiting))
    return state


_EFFECTS: dict[type[HallEvent], Callable[[HallState, Any], HallState]] = {
    NumbersLeftOut: _left_out,
    DayOpened: _day_opened,
    DayClosed: _day_closed,
    TicketIssued: _issued,
    TicketPrinted: _joined,
    TicketVoided: _voided,
    TicketCalled: _called,
    TicketRecalled: _recalled,
    TicketStarted: _started,
    TicketFinished: _finished,
    TicketNoShow: _no_show,
    TicketRejoined: _joined,
    TicketTransferred: _transferred,
    TicketParked: _parked,
    TicketResumed: _resumed,
    TicketCancelled: _cancelled,
    TicketRated: _rating_ended,
    TicketUnrated: _rating_ended,
    WindowOpened: _window_changed,
    WindowPaused: _window_changed,
    WindowReopened: _window_changed,
    WindowClosed: _window_changed,
}


def served_seconds(ticket: Ticket, now: Moment) -> float | None:
    """How long this ticket has been served by ``now``, without the time it was parked."""
    if ticket.started is None:
        return ticket.served_seconds
    running = now.seconds_since(ticket.started)
    if running is None or ticket.served_seconds is None:
        return None
    return ticket.served_seconds + running


def _step(table: Any, state: Any, event: HallEvent) -> Any:
    """The next state by one of the tables of ``edge.queue.machines``."""
    try:
        return table[state][type(event)]
    except KeyError:
        raise ImpossibleEvent(event, state) from None


def _ticket(state: HallState, event: TicketEvent) -> Ticket:
    try:
        return state.tickets[event.ticket]
    except KeyError:
        raise ImpossibleEvent(event, "no such ticket") from None


def _at_window(state: HallState, event: AtWindow, ticket: str | None) -> Window:
    """The window after a step with the event's ticket; it holds ``ticket`` from now on."""
    window: Window = state.window(event.window)
    if window.ticket not in (None, event.ticket):
        raise ImpossibleEvent(event, f"window holds {window.ticket}")
    after = _step(WINDOW, window.state, event)
    rated = None if after is WindowState.SERVING else window.rated
    return replace(window, state=after, ticket=ticket, rated=rated)

"""What a command leads to: events, or a refusal that says why. Nothing is changed here."""

from collections.abc import Callable, Iterator
from math import inf
from typing import Any

from contract.commands import (
    CallNext,
    CallTicket,
    Cancel,
    CloseDay,
    CloseRating,
    Command,
    ConfirmPrint,
    FailPrint,
    Finish,
    IssueTicket,
    NoShow,
    OpenDay,
    Park,
    Pause,
    Rate,
    Recall,
    Refusal,
    RefusalReason,
    Rejoin,
    Reopen,
    Resume,
    SignOff,
    SignOn,
    Start,
    Transfer,
)
from contract.events import (
    DayClosed,
    DayOpened,
    HallEvent,
    Place,
    TicketCalled,
    TicketCancelled,
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
    WaitEstimated,
    WindowClosed,
    WindowOpened,
    WindowPaused,
    WindowReopened,
)
from contract.names import (
    BusinessDay,
    CancelReason,
    HallPhase,
    Moment,
    TicketState,
    VoidReason,
    WindowState,
)
from edge.queue.apply import apply, served_seconds
from edge.queue.day import business_day, is_over, is_to_come, knows_the_date, too_far_ahead
from edge.queue.dispatch import next_ticket
from edge.queue.machines import TICKET, WINDOW
from edge.queue.numbers import next_unspent
from edge.queue.plan import HallPlan
from edge.queue.state import HallState, Ticket, Window

Events = tuple[HallEvent, ...]


def decide(plan: HallPlan, state: HallState, command: Command, now: Moment) -> Events | Refusal:
    """The events that ``command`` leads to at ``now``, never empty; or why it is refused.

    Pure: ``state`` is not changed; ``apply`` the events to get the next one.
    """
    try:
        return _RULES[type(command)](_Step(plan, state, command, now))
    except _Refused as refused:
        return refused.refusal


class _Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


class _Step:
    """One command at one instant, with the questions that the rules ask."""

    def __init__(self, plan: HallPlan, state: HallState, command: Any, now: Moment) -> None:
        self.plan = plan
        self.state = state
        self.command = command
        self.now = now

    def refuse(
        self,
        reason: RefusalReason,
        *,
        ticket: Ticket | None = None,
        window: Window | None = None,
        detail: str = "",
    ) -> _Refused:
        wrong_window = reason is RefusalReason.WRONG_WINDOW_STATE
        subject = window if wrong_window else ticket or window
        return _Refused(
            Refusal(
                reason=reason,
                command=self.command.command,
                ticket=ticket.id if ticket else getattr(self.command, "ticket", None),
                number=ticket.number if ticket else None,
                window=window.number if window else getattr(self.command, "window", None),
                state=subject.state.value if subject else None,
                detail=detail,
            )
        )

    def day(self) -> BusinessDay:
        if self.state.phase is not HallPhase.OPEN or self.state.business_day is None:
            raise self.refuse(RefusalReason.DAY_NOT_OPEN)
        return self.state.business_day

    def known_window(self) -> Window:
        """The command's window, whatever its state. One that has left the plan is known while it
        is open or asks for a rating, so that it can be wound up."""
        window = self.state.window(self.command.window)
        at_rest = window.state is WindowState.CLOSED and window.asking is None
        if at_rest and window.number not in self.plan.windows:
            raise self.refuse(RefusalReason.UNKNOWN_WINDOW)
        return window

    def window(self, event: type[HallEvent]) -> Window:
        """The command's window, to which ``event`` may happen now."""
        window = self.known_window()
        if event not in WINDOW[window.state]:
            held = self.state.tickets[window.ticket] if window.ticket else None
            raise self.refuse(RefusalReason.WRONG_WINDOW_STATE, ticket=held, window=window)
        return window

    def planned_window(self, event: type[HallEvent]) -> Window:
        """The same, for an event that brings a customer or a clerk to the window: one that has left
        the plan takes nobody on."""
        window = self.window(event)
        if window.number not in self.plan.windows:
            raise self.refuse(RefusalReason.UNKNOWN_WINDOW, window=window)
        return window

    def ticket(self, event: type[HallEvent], ticket_id: str | None = None) -> Ticket:
        """The command's ticket, to which ``event`` may happen now."""
        ticket = self.state.tickets.get(ticket_id or self.command.ticket)
        if ticket is None:
            raise self.refuse(RefusalReason.UNKNOWN_TICKET)
        if event not in TICKET[ticket.state]:
            raise self.refuse(RefusalReason.WRONG_TICKET_STATE, ticket=ticket)
        return ticket

    def at_window(self, event: type[HallEvent]) -> tuple[Window, Ticket]:
        """The command's window and the ticket it holds."""
        window = self.window(event)
        assert window.ticket is not None, "a calling or serving window holds a ticket"
        return window, self.ticket(event, window.ticket)

    def about(self, ticket: Ticket) -> dict[str, Any]:
        """The fields that every event about a ticket has."""
        return {
            "at": self.now,
            "ticket": ticket.id,
            "number": ticket.number,
            "business_day": ticket.business_day,
            "service": ticket.service,
            "tier": ticket.tier,
        }

    def about_at(self, ticket: Ticket, window: Window) -> dict[str, Any]:
        """The same for an event about a ticket at a window."""
        return {**self.about(ticket), "window": window.number, "clerk": window.clerk}

    def then(self, events: Events) -> "_Step":
        """The same command, after these events."""
        state = self.state
        for event in events:
            state = apply(state, event)
        return _Step(self.plan, state, self.command, self.now)


# --- the ticket's way in ------------------------------------------------------------------------


def _issue(step: _Step) -> Events:
    day = step.day()
    command: IssueTicket = step.command
    service = step.plan.services.get(command.service)
    if service is None:
        raise step.refuse(RefusalReason.UNKNOWN_SERVICE)
    if command.ticket in step.state.tickets:
        raise step.refuse(RefusalReason.TICKET_EXISTS)
    spent = step.state.spent.get(service.prefix, ())
    ordinal = next_unspent(spent, service.first_number, service.last_number)
    if ordinal is None:
        raise step.refuse(
            RefusalReason.NUMBERS_EXHAUSTED,
            detail=f"{service.prefix} ends at {service.last_number}",
        )
    head: dict[str, Any] = {
        "at": step.now,
        "ticket": command.ticket,
        "number": service.number(ordinal),
        "business_day": day,
        "service": service.id,
        "tier": command.tier,
    }
    estimate = step.plan.estimator.estimate(
        step.plan, step.state, service.id, command.tier, step.now
    )
    return (
        TicketIssued(
            **head,
            place=Place(anchor=step.state.anchor + 1),
            ordinal=ordinal,
            language=command.language,
        ),
        WaitEstimated(
            **head,
            ahead=estimate.ahead,
            p50_seconds=estimate.p50_seconds,
            p90_seconds=estimate.p90_seconds,
            method=estimate.method,
        ),
    )


def _confirm_print(step: _Step) -> Events:
    return (TicketPrinted(**step.about(step.ticket(TicketPrinted))),)


def _fail_print(step: _Step) -> Events:
    ticket = step.ticket(TicketVoided)
    return (TicketVoided(**step.about(ticket), reason=step.command.reason),)


def _rejoin(step: _Step) -> Events:
    ticket = step.ticket(TicketRejoined)
    if ticket.service not in step.plan.services:  # nobody would ever call it
        raise step.refuse(RefusalReason.UNKNOWN_SERVICE, ticket=ticket)
    was_there = ticket.state is TicketState.VOIDED  # its paper had come out after all
    anchor, number = ticket.place if was_there else _place_after(step, ticket)
    return (TicketRejoined(**step.about(ticket), place=Place(anchor=anchor, step=number)),)


def _place_after(step: _Step, ticket: Ticket) -> tuple[int, int]:
    """Behind ``rejoin_after`` others of its own line, or behind the last where there are fewer.

    Who was called out of turn gains nothing by not coming. Who rejoined behind the same other
    before stays before, and no two tickets ever have one place.
    """
    line = step.state.lines.by_service.get(ticket.service, {}).get(ticket.tier, ())
    if not line:
        return ticket.place
    before = line[min(step.plan.rules.rejoin_after, len(line)) - 1]
    if ticket.place > before.place:
        return ticket.place
    anchor = before.place[0]
    taken = (other.place[1] for other in step.state.tickets.values() if other.place[0] == anchor)
    return (anchor, 1 + max(taken))


def _cancel(step: _Step) -> Events:
    ticket = step.ticket(TicketCancelled)
    return (TicketCancelled(**step.about(ticket), reason=step.command.reason),)


# --- at the window ------------------------------------------------------------------------------


def _call_next(step: _Step) -> Events:
    step.day()
    before: Events = ()
    if step.state.window(step.command.window).state is WindowState.SERVING:
        before = _finish(step)
        step = step.then(before)
    window = step.planned_window(TicketCalled)
    following = next_ticket(
        step.state.lines,
        window.number,
        step.plan.windows[window.number].preference,
        step.plan.policy,
        step.now.wall.timestamp(),
    )
    if following is None:
        if before:
            return before
        raise step.refuse(RefusalReason.NOBODY_WAITING, window=window)
    return (*before, _called(step, window, step.state.tickets[following.ticket]))


def _call_ticket(step: _Step) -> Events:
    step.day()
    window = step.planned_window(TicketCalled)
    return (_called(step, window, step.ticket(TicketCalled)),)


def _called(step: _Step, window: Window, ticket: Ticket) -> TicketCalled:
    first = ticket.first_called is None
    return TicketCalled(
        **step.about_at(ticket, window),
        first_call=first,
        wait_seconds=step.now.seconds_since(ticket.issued) if first else None,
    )


def _recall(step: _Step) -> Events:
    window, ticket = step.at_window(TicketRecalled)
    if ticket.calls >= step.plan.rules.recall_limit:
        raise step.refuse(RefusalReason.RECALL_LIMIT, ticket=ticket, window=window)
    return (TicketRecalled(**step.about_at(ticket, window), calls=ticket.calls + 1),)


def _start(step: _Step) -> Events:
    window, ticket = step.at_window(TicketStarted)
    # The next customer is at the window: the evaluator there is no longer the last one's.
    return (*_stop_asking(step, window), TicketStarted(**step.about_at(ticket, window)))


def _finish(step: _Step) -> Events:
    window, ticket = step.at_window(TicketFinished)
    seconds = served_seconds(ticket, step.now)
    return (TicketFinished(**step.about_at(ticket, window), service_seconds=seconds),)


def _no_show(step: _Step) -> Events:
    window, ticket = step.at_window(TicketNoShow)
    rules = step.plan.rules
    assert ticket.called is not None, "a called ticket has a time of call"
    since_call = step.now.seconds_since(ticket.called)
    calls = min(rules.no_show_after_calls, rules.recall_limit)
    if ticket.calls < calls or (
        since_call is not None and since_call < rules.no_show_after_seconds
    ):
        raise step.refuse(
            RefusalReason.TOO_EARLY,
            ticket=ticket,
            window=window,
            detail=f"after {calls} calls and {rules.no_show_after_seconds:g} s",
        )
    return (TicketNoShow(**step.about_at(ticket, window)),)


def _transfer(step: _Step) -> Events:
    command: Transfer = step.command
    window, ticket = step.at_window(TicketTransferred)
    service = command.to_service or ticket.service
    if service not in step.plan.services:
        raise step.refuse(RefusalReason.UNKNOWN_SERVICE, ticket=ticket)
    if command.to_window is not None:
        if command.to_window not in step.plan.windows or command.to_window == window.number:
            raise step.refuse(
                RefusalReason.UNKNOWN_WINDOW, ticket=ticket, detail=f"to {command.to_window}"
            )
        target = step.state.window(command.to_window)
        if target.state is WindowState.CLOSED:  # nobody there would ever call it
            raise step.refuse(
                RefusalReason.WRONG_WINDOW_STATE,
                ticket=ticket,
                window=target,
                detail="a closed window takes no transfer",
            )
    elif not any(service in skills.preference for skills in step.plan.windows.values()):
        raise step.refuse(RefusalReason.NO_WINDOW_FOR_SERVICE, ticket=ticket)
    about = {**step.about_at(ticket, window), "service": service}
    return (TicketTransferred(**about, from_service=ticket.service, to_window=command.to_window),)


def _park(step: _Step) -> Events:
    window, ticket = step.at_window(TicketParked)
    return (TicketParked(**step.about_at(ticket, window)),)


def _resume(step: _Step) -> Events:
    command: Resume = step.command
    window = step.planned_window(TicketResumed)
    ticket_id = command.ticket or _parked_longest(step, window)
    ticket = step.ticket(TicketResumed, ticket_id)
    return (
        *_stop_asking(step, window),
        TicketResumed(**step.about_at(ticket, window)),
    )


def _parked_longest(step: _Step, window: Window) -> str:
    """By this window, or else by one that has left the plan: nobody there takes it back."""
    parked = [
        (ticket.window, _seconds_or_ever(step.now.seconds_since(ticket.parked)), ticket.id)
        for ticket in step.state.tickets.values()
        if ticket.parked is not None
    ]
    own = [each for each in parked if each[0] == window.number]
    candidates = own or [each for each in parked if each[0] not in step.plan.windows]
    if not candidates:
        raise step.refuse(RefusalReason.NOTHING_PARKED, window=window)
    longest = max(seconds for _, seconds, _ in candidates)
    return min(ticket for _, seconds, ticket in candidates if seconds == longest)


def _seconds_or_ever(seconds: float | None) -> float:
    """What was before a boot, and no clock can tell when, is the longest ago."""
    return inf if seconds is None else seconds


# --- the rating ---------------------------------------------------------------------------------


def _rate(step: _Step) -> Events:
    command: Rate = step.command
    window = step.known_window()
    if window.asking is None:
        reason = RefusalReason.ALREADY_RATED if window.rated else RefusalReason.NOTHING_TO_RATE
        raise step.refuse(reason, window=window)
    ticket = step.state.tickets[window.asking]
    return (
        TicketRated(**_about_served(step, ticket), rating=command.rating, reason=command.reason),
    )


def _close_rating(step: _Step) -> Events:
    window = step.known_window()
    if window.asking != step.command.ticket:
        raise step.refuse(RefusalReason.NOTHING_TO_RATE, window=window)
    return _stop_asking(step, window)


def _stop_asking(step: _Step, window: Window) -> Events:
    if window.asking is None:
        return ()
    ticket = step.state.tickets[window.asking]
    return (TicketUnrated(**_about_served(step, ticket)),)


def _about_served(step: _Step, ticket: Ticket) -> dict[str, Any]:
    """A rating belongs to the clerk and window that served, whoever sits there now."""
    return {**step.about(ticket), "window": ticket.window, "clerk": ticket.clerk}


# --- the window itself --------------------------------------------------------------------------


def _sign_on(step: _Step) -> Events:
    command: SignOn = step.command
    window = step.planned_window(WindowOpened)
    for other in step.state.windows.values():
        if other.clerk == command.clerk:
            raise step.refuse(
                RefusalReason.CLERK_AT_OTHER_WINDOW,
                window=window,
                detail=f"{command.clerk} is at window {other.number}",
            )
    return (WindowOpened(at=step.now, window=window.number, clerk=command.clerk),)


def _sign_off(step: _Step) -> Events:
    window = step.window(WindowClosed)
    return (WindowClosed(at=step.now, window=window.number, clerk=window.clerk),)


def _pause(step: _Step) -> Events:
    window = step.window(WindowPaused)
    return (
        WindowPaused(
            at=step.now, window=window.number, clerk=window.clerk, reason=step.command.reason
        ),
    )


def _reopen(step: _Step) -> Events:
    window = step.window(WindowReopened)
    return (WindowReopened(at=step.now, window=window.number, clerk=window.clerk),)


# --- the day ------------------------------------------------------------------------------------


def _open_day(step: _Step) -> Events:
    command: OpenDay = step.command
    if step.state.phase is HallPhase.OPEN:
        raise step.refuse(
            RefusalReason.DAY_ALREADY_OPEN, detail=f"{step.state.business_day} is open"
        )
    wanted = command.business_day
    if not step.state.numbers_are_known(wanted):
        # They are on people's paper: no number may come again.
        raise step.refuse(RefusalReason.DAY_IN_THE_PAST, detail="its numbers are forgotten")
    if knows_the_date(step.plan, step.state, step.now):
        today = f"today is {business_day(step.plan, step.now)}"
        if is_over(step.plan, wanted, step.now):
            raise step.refuse(RefusalReason.DAY_IN_THE_PAST, detail=today)
        if is_to_come(step.plan, wanted, step.now):
            raise step.refuse(RefusalReason.DAY_TOO_FAR_AHEAD, detail=today)
    elif (last := step.state.business_day) is not None:
        if wanted <= last:
            raise step.refuse(RefusalReason.DAY_IN_THE_PAST, detail=f"the last day was {last}")
        if too_far_ahead(last, wanted):
            raise step.refuse(RefusalReason.DAY_TOO_FAR_AHEAD, detail=f"the last day was {last}")
    return (DayOpened(at=step.now, business_day=wanted),)


def _close_day(step: _Step) -> Events:
    day = step.day()
    return (*_all_ended(step), DayClosed(at=step.now, business_day=day))


def _all_ended(step: _Step) -> Iterator[HallEvent]:
    """Every ticket ends, every evaluator stops asking, every window is left."""
    for window in step.state.windows.values():
        yield from _stop_asking(step, window)
    for ticket in step.state.tickets.values():
        about = step.about(ticket)
        match ticket.state:
            case TicketState.PRINTING:
                yield TicketVoided(**about, reason=VoidReason.EXPIRED)
            case TicketState.WAITING | TicketState.CALLED | TicketState.PARKED:
                yield TicketCancelled(**about, reason=CancelReason.DAY_CLOSED)
            case TicketState.SERVING:
                # Nobody said when it ended: a night must not count as a service time.
                at = _about_served(step, ticket)
                yield TicketFinished(**at, service_seconds=None)
                yield TicketUnrated(**at)
    for window in step.state.windows.values():
        if window.state is not WindowState.CLOSED:
            yield WindowClosed(at=step.now, window=window.number, clerk=window.clerk)


_RULES: dict[type[Any], Callable[[_Step], Events]] = {
    IssueTicket: _issue,
    ConfirmPrint: _confirm_print,
    FailPrint: _fail_print,
    SignOn: _sign_on,
    SignOff: _sign_off,
    CallNext: _call_next,
    CallTicket: _call_ticket,
    Recall: _recall,
    Start: _start,
    Finish: _finish,
    NoShow: _no_show,
    Rejoin: _rejoin,
    Transfer: _transfer,
    Park: _park,
    Resume: _resume,
    Pause: _pause,
    Reopen: _reopen,
    Rate: _rate,
    CloseRating: _close_rating,
    Cancel: _cancel,
    OpenDay: _open_day,
    CloseDay: _close_day,
}

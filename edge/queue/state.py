"""The state of a hall: immutable, so that a step that missed the disk is simply forgotten."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from contract.names import (
    BusinessDay,
    ClerkId,
    HallPhase,
    Language,
    Moment,
    ServiceId,
    TicketId,
    TicketNumber,
    TicketState,
    Tier,
    WindowNumber,
    WindowState,
)
from edge.queue.dispatch import NO_LINES, Lines, Waiting
from edge.queue.numbers import Spent, both


@dataclass(frozen=True, slots=True)
class Ticket:
    """One customer's place in line."""

    id: TicketId
    number: TicketNumber
    business_day: BusinessDay
    service: ServiceId
    tier: Tier
    language: Language
    state: TicketState
    place: tuple[int, int]
    issued: Moment
    first_called: Moment | None = None
    called: Moment | None = None
    """When it was first announced at the present window."""
    calls: int = 0
    """How often it was announced at the present window."""
    started: Moment | None = None
    """Since when it is being served without a break."""
    served_seconds: float | None = 0.0
    """Service before ``started``, as parking interrupts it; ``None``: no clock can tell."""
    window: WindowNumber | None = None
    """Where it is called, served, or was parked."""
    clerk: ClerkId | None = None
    to_window: WindowNumber | None = None
    """It waits for this window alone."""
    parked: Moment | None = None

    def waiting(self) -> Waiting:
        since = self.issued.wall.timestamp()
        return Waiting(self.place, self.id, self.service, self.tier, since)


@dataclass(frozen=True, slots=True)
class Window:
    """A numbered counter."""

    number: WindowNumber
    state: WindowState = WindowState.CLOSED
    clerk: ClerkId | None = None
    ticket: TicketId | None = None
    """Called or served here."""
    asking: TicketId | None = None
    """The finished ticket whose customer is being asked for a rating."""
    rated: TicketId | None = None
    """The ticket rated last, until the next one is served."""


SERVICE_TIMES_MEMORY = 100.0
"""About so many services count for the mean."""


@dataclass(frozen=True, slots=True)
class ServiceTimes:
    """Service times of one service as they were seen: a mean that forgets slowly."""

    mean_seconds: float
    weight: float

    def seen(self, seconds: float) -> "ServiceTimes":
        weight = min(self.weight, SERVICE_TIMES_MEMORY - 1) + 1
        return ServiceTimes(
            mean_seconds=self.mean_seconds + (seconds - self.mean_seconds) / weight,
            weight=weight,
        )


DAYS_REMEMBERED = 400
"""Of so many days it is known which numbers are spent: more than a year, for a clock that is wrong
for a year leaves the days in between known."""


@dataclass(frozen=True, slots=True)
class HallState:
    """Everything that ``decide`` needs to know of the past."""

    phase: HallPhase = HallPhase.CLOSED
    business_day: BusinessDay | None = None
    """The present day, or the last one where the hall is closed."""
    spent: Spent = field(default_factory=dict)
    """The numbers of ``business_day`` that nobody gets any more."""
    spent_on: Mapping[BusinessDay, Spent] = field(default_factory=dict)
    """The same of other days, of which each may come again when a clock is set: the last
    ``DAYS_REMEMBERED`` of those on which a number was issued."""
    anchor: int = 0
    """How many tickets were issued today: the last place's anchor."""
    tickets: Mapping[TicketId, Ticket] = field(default_factory=dict)
    """Tickets that can still change; those that have ended for good are in the journal only."""
    windows: Mapping[WindowNumber, Window] = field(default_factory=dict)
    service_times: Mapping[ServiceId, ServiceTimes] = field(default_factory=dict)
    lines: Lines = NO_LINES
    """Derived from ``tickets``: see ``lines_of``."""

    def window(self, number: WindowNumber) -> Window:
        """A window that nothing has happened to yet is closed."""
        return self.windows.get(number) or Window(number)

    def numbers_are_known(self, day: BusinessDay) -> bool:
        """Whether it is known which numbers of ``day`` are spent, or that none is."""
        known = [*self.spent_on]
        if self.business_day is not None:
            known.append(self.business_day)
        return len(known) < DAYS_REMEMBERED or day >= min(known)

    def with_spent(self, day: BusinessDay, spent: Spent) -> "HallState":
        """No number in ``spent`` is ever issued on ``day``."""
        if day == self.business_day:
            return replace(self, spent=both(self.spent, spent))
        known = both(self.spent_on.get(day, {}), spent)
        return replace(self, spent_on=newest_days({**self.spent_on, day: known}))

    def having(
        self,
        *,
        ticket: Ticket | None = None,
        window: Window | None = None,
        lines: Lines | None = None,
    ) -> "HallState":
        """The same hall with this ticket, this window, these lines."""
        return replace(
            self,
            tickets=self.tickets if ticket is None else {**self.tickets, ticket.id: ticket},
            windows=self.windows if window is None else {**self.windows, window.number: window},
            lines=self.lines if lines is None else lines,
        )

    def without(self, ticket: Ticket) -> "HallState":
        """The same hall without this ticket: nothing happens to it any more."""
        tickets = dict(self.tickets)
        del tickets[ticket.id]
        return replace(self, tickets=tickets)


def newest_days(spent_on: Mapping[BusinessDay, Spent]) -> Mapping[BusinessDay, Spent]:
    """The days that are remembered, of these: those without a number need not be."""
    days = sorted(day for day, spent in spent_on.items() if spent)
    return {day: spent_on[day] for day in days[-DAYS_REMEMBERED:]}


def lines_of(tickets: Mapping[TicketId, Ticket]) -> Lines:
    """The lines that these tickets make, for a state that is restored from a snapshot."""
    lines = NO_LINES
    for ticket in tickets.values():
        if ticket.state is TicketState.WAITING:
            lines = lines.add(ticket.waiting(), ticket.to_window)
    return lines

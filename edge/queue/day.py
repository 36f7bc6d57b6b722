"""Business days: when one ends and the next begins, and what becomes of them when a clock is set.

A day is named by the calendar. A clock may be wrong for days and be set right: the name of the day
follows it, back as well as forward, and the state knows of each day which numbers are spent, so
that a day may come again and no number does.
"""

from datetime import UTC, date, datetime, time, timedelta

from contract.commands import CloseDay, Command, OpenDay
from contract.names import BusinessDay, HallPhase, Moment, TicketState
from edge.queue.machines import ENDED
from edge.queue.plan import HallPlan
from edge.queue.state import HallState, Ticket

ONE_DAY = timedelta(days=1)
SET_NOT_SLEWED = timedelta(minutes=10)
"""A wall clock that has gained or lost so much on the monotonic one was set."""
CLOCKS_DIFFER = timedelta(hours=2)
"""A day may be open so long before its time: a clock is set back by minutes, and in autumn an hour
comes twice. More is a wrong day."""
SETTLED_SECONDS = 600.0
"""A clock that goes back is believed when the machine has been up for so long: some boot in the
past, call that time, and are set right soon."""
LONGEST_CLOSURE = timedelta(days=366)
FIRST_DAY_EVER = date(2026, 1, 1)
"""No hall has run this software before: an earlier day was a clock without a battery."""


def business_day(plan: HallPlan, now: Moment) -> BusinessDay:
    """The business day at ``now`` in the hall's time zone; it begins ``day_resets_at`` after
    midnight."""
    return _business_day(plan, now.wall)


def begins(plan: HallPlan, day: BusinessDay) -> datetime:
    """When a business day begins."""
    return datetime.combine(day, time(), plan.time_zone) + plan.day_resets_at


def seconds_to_reset(plan: HallPlan, now: Moment) -> float:
    """Until the next business day begins, by the wall clock."""
    tomorrow = business_day(plan, now) + ONE_DAY
    return (begins(plan, tomorrow).astimezone(UTC) - now.wall).total_seconds()


def knows_the_date(plan: HallPlan, state: HallState, now: Moment) -> bool:
    """Whether the clock is believed. One that says a day so long gone that its numbers are
    forgotten is as good as none."""
    return now.synced and state.numbers_are_known(business_day(plan, now))


def is_over(plan: HallPlan, day: BusinessDay, now: Moment) -> bool:
    """Whether ``day`` has ended, by a clock that knows the date."""
    return day < _business_day(plan, now.wall - CLOCKS_DIFFER)


def is_to_come(plan: HallPlan, day: BusinessDay, now: Moment) -> bool:
    """Whether it will be long before ``day`` begins, by a clock that knows the date."""
    return day > _business_day(plan, now.wall + CLOCKS_DIFFER)


def too_far_ahead(last: BusinessDay, day: BusinessDay) -> bool:
    """Whether a hall whose last day was ``last`` can't be opening on ``day`` by a clock that nobody
    has set: such a clock is rather wrong than the hall closed for so long."""
    return last >= FIRST_DAY_EVER and day > last + LONGEST_CLOSURE


def due(plan: HallPlan, state: HallState, now: Moment) -> list[Command]:
    """What the calendar asks for now, in order; mostly nothing.

    A closed hall whose clock does not know the date opens the day after the last, because people
    must not find a dead dispenser; an open one goes on. When such a clock is set right, or one that
    was believed and wrong, the right day is opened. Nobody who came today is thrown out for that:
    the day that they took their numbers in goes on until they are gone.
    """
    today, last = business_day(plan, now), state.business_day
    if last is None:
        return [OpenDay(business_day=today)]
    known = knows_the_date(plan, state, now)
    if known:
        goes_over = today > last or is_to_come(plan, last, now)
    else:
        goes_over = today > last and not too_far_ahead(last, today)
    if state.phase is HallPhase.CLOSED:
        if goes_over:
            return [OpenDay(business_day=today)]
        # A day that somebody closed stays closed until the next, as far as the date is known.
        return [] if known else [OpenDay(business_day=last + ONE_DAY)]
    if not goes_over or (today < last and now.monotonic < SETTLED_SECONDS):
        return []
    if any(_came_on(plan, today, ticket, now) for ticket in state.tickets.values()):
        return []
    return [CloseDay(), OpenDay(business_day=today)]


def _came_on(plan: HallPlan, today: BusinessDay, ticket: Ticket, now: Moment) -> bool:
    """Whether the ticket is alive, and was issued today by what the clock says *now*, though the
    hall had another day then: the clock was set meanwhile, or they waited for others of today.

    Where no clock can tell, it is as young as this boot: that is a boot without the time, not an
    evening. Who comes in the instants around the reset is of the day before.
    """
    if ticket.state in ENDED:
        return False
    ago = now.seconds_since(ticket.issued)
    if ago is None or (now.boot != ticket.issued.boot and now.wall < ticket.issued.wall):
        if ticket.state is TicketState.PARKED:
            return False  # left behind on some day: nobody calls it, and it would hold every day
        ago = now.monotonic
    issued = now.wall - timedelta(seconds=ago)
    if _business_day(plan, issued) < today:
        return False
    was_set = abs(issued - ticket.issued.wall) > SET_NOT_SLEWED
    return was_set or issued - begins(plan, today) > SET_NOT_SLEWED


def _business_day(plan: HallPlan, wall: datetime) -> BusinessDay:
    return (wall.astimezone(plan.time_zone) - plan.day_resets_at).date()

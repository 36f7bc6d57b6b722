"""Business days: when one ends and the next begins."""

from datetime import datetime, time, timedelta

from contract.commands import CloseDay, Command, OpenDay
from contract.names import BusinessDay, HallPhase, Moment
from edge.queue.machines import ENDED
from edge.queue.plan import HallPlan, too_far_ahead
from edge.queue.state import HallState, Ticket

ONE_DAY = timedelta(days=1)
SET_NOT_SLEWED = timedelta(minutes=10)
"""A wall clock that has gained or lost so much on the monotonic one was set."""


def business_day(plan: HallPlan, now: Moment) -> BusinessDay:
    """The business day at ``now`` in the hall's time zone; it begins ``day_resets_at`` after
    midnight."""
    return (now.wall.astimezone(plan.time_zone) - plan.day_resets_at).date()


def seconds_to_reset(plan: HallPlan, now: Moment) -> float:
    """Until the next business day begins, by the wall clock."""
    local = now.wall.astimezone(plan.time_zone)
    tomorrow = business_day(plan, now) + ONE_DAY
    begins = datetime.combine(tomorrow, time(), plan.time_zone) + plan.day_resets_at
    return (begins - local).total_seconds()


def due(plan: HallPlan, state: HallState, now: Moment) -> list[Command]:
    """What the calendar asks for now, in order; mostly nothing.

    A day never runs backwards: an earlier date changes nothing while a day is open. A closed hall
    whose clock does not know the date opens the day after the last, because numbers must not come
    twice and people must not find a dead dispenser. And when such a clock is set right, nobody who
    came today is thrown out: the day that they took their numbers in goes on until they are gone.
    """
    today = business_day(plan, now)
    last = state.business_day
    if last is not None and too_far_ahead(last, today):
        return [] if state.phase is HallPhase.OPEN else [OpenDay(business_day=last + ONE_DAY)]
    if state.phase is HallPhase.CLOSED:
        if last is not None and today <= last:
            return [] if now.synced else [OpenDay(business_day=last + ONE_DAY)]
        return [OpenDay(business_day=today)]
    if last is not None and today <= last:
        return []
    if any(_came_on(plan, today, ticket, now) for ticket in state.tickets.values()):
        return []
    return [CloseDay(), OpenDay(business_day=today)]


def _came_on(plan: HallPlan, today: BusinessDay, ticket: Ticket, now: Moment) -> bool:
    """Whether the ticket is alive, and was issued today by what the clock says *now*, though the
    clock said another day then: it was set meanwhile.

    True where no clock can tell: that is a boot without the time, not an evening.
    """
    if ticket.state in ENDED:
        return False
    ago = now.seconds_since(ticket.issued)
    if ago is None:
        return True
    issued = now.model_copy(update={"wall": now.wall - timedelta(seconds=ago)})
    was_set = abs(issued.wall - ticket.issued.wall) > SET_NOT_SLEWED
    return was_set and business_day(plan, issued) >= today

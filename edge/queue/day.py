"""Business days: when one ends and the next begins."""

from contract.commands import CloseDay, Command, OpenDay
from contract.names import BusinessDay, HallPhase, Moment
from edge.queue.machines import ENDED
from edge.queue.plan import HallPlan
from edge.queue.state import HallState

STEP_TOLERANCE_SECONDS = 3600.0
"""A wall clock that is further ahead of the monotonic one than this was set, it did not run."""


def business_day(plan: HallPlan, now: Moment) -> BusinessDay:
    """The business day at ``now`` in the hall's time zone; it begins ``day_resets_at`` after
    midnight."""
    return (now.wall.astimezone(plan.time_zone) - plan.day_resets_at).date()


def due(plan: HallPlan, state: HallState, now: Moment, opened: Moment | None) -> list[Command]:
    """What the calendar asks for now, in order; mostly nothing.

    A day never runs backwards: an earlier date changes nothing. A clock that was *set* forward
    (a Raspberry Pi learns the time after boot) does not throw out people who wait: the day that
    they took their numbers in goes on until the line is empty. ``opened`` is when the open day
    began, ``None`` where that is not known.
    """
    today = business_day(plan, now)
    if state.phase is HallPhase.CLOSED:
        if state.business_day is not None and today <= state.business_day:
            # Same day again, or a clock in the past: numbers must not come twice.
            return []
        return [OpenDay(business_day=today)]
    if state.business_day is not None and today <= state.business_day:
        return []
    if opened is not None and _was_set(opened, now) and _somebody_is_here(state):
        return []
    return [CloseDay(), OpenDay(business_day=today)]


def _was_set(opened: Moment, now: Moment) -> bool:
    if opened.boot != now.boot:
        return not opened.synced
    ran = now.monotonic - opened.monotonic
    shown = (now.wall - opened.wall).total_seconds()
    return shown - ran > STEP_TOLERANCE_SECONDS


def _somebody_is_here(state: HallState) -> bool:
    return any(ticket.state not in ENDED for ticket in state.tickets.values())

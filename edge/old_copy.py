"""What a hall does that finds its journal to be an old copy which was put back.

What happened between the copy and its return is lost here: the centre may know it, under the seqs
that come next, so a new epoch begins (``Journal.start_new_epoch``); and numbers that were issued
then are on people's paper, so as many as may be are left out.
"""

import logging
from datetime import timedelta
from typing import Protocol

from contract.commands import Refusal
from contract.events import NumberRun, NumbersLeftOut
from contract.names import BusinessDay
from edge.clock import Clock
from edge.controller import Controller
from edge.journal.companion import ByDay, Pending, Reached
from edge.journal.errors import JournalError
from edge.journal.salvage import UNKNOWN_TAIL
from edge.queue.day import begins, business_day
from edge.queue.numbers import Spent, next_unspent
from edge.queue.plan import HallPlan, Service
from edge.queue.state import HallState

log = logging.getLogger(__name__)

ISSUED_PER_MINUTE = 1.0
"""Of one service, in a hall that is very busy."""
EVENTS_PER_TICKET = 2
"""At least: issued and printed."""


class PutBack(Protocol):
    """What is needed of a journal."""

    pending: Pending | None

    @property
    def reached(self) -> Reached:
        """For old copies before this one."""
        ...

    async def note_reached(self, reached: Reached) -> None:
        """Raises ``JournalError``."""
        ...

    async def note_left_out(self, left_out: ByDay) -> None:
        """Raises ``JournalError``."""
        ...

    async def settle(self) -> None:
        """Raises ``JournalError``."""
        ...


class OldCopy:
    """What is to be done about a journal that was put back, and whether it is done."""

    def __init__(self, controller: Controller, journal: PutBack, clock: Clock) -> None:
        self._controller = controller
        self._journal = journal
        self._clock = clock
        self._started = clock.now()
        self._is_dated = False
        """Whether the days, on which numbers were left out, were those of a clock that was set."""
        self._is_owed = False
        """Numbers were left out, and of which days nobody could tell."""

    async def leave_out_numbers(self) -> bool:
        """Whether it is done, and on the disk: the numbers that may have been issued on the days
        that are not over. What was left out before counts. ``settle`` is still to come."""
        self._is_owed = False
        return await self._leave_out()

    async def _leave_out(self) -> bool:
        pending, now = self._journal.pending, self._clock.now()
        self._is_dated = now.synced
        assert pending is not None, "nobody asks for it of a journal that is none"
        controller, plan = self._controller, self._controller.plan
        # This process knows what it issued itself.
        until = now.wall - timedelta(seconds=now.seconds_since(self._started) or 0.0)
        today = business_day(plan, now)
        counts: dict[BusinessDay, int] = {}
        events: list[NumbersLeftOut] = []
        for day in sorted({today, controller.state.business_day or today}):
            before = pending.left_out.get(day, 0)
            if before and not now.synced:
                continue  # how long ago the copy was made nobody knows now, either
            # A copy that ends in the future was written by a clock that was wrong.
            since = pending.since if pending.since <= until else begins(plan, day)
            seconds = (until - max(since, begins(plan, day))).total_seconds()
            count = count_left_out(seconds, pending.lost_events)
            if count > before:
                # What was left out for another copy was left out before this one was put back.
                reached = frozenset() if before else self._journal.reached.get(day, frozenset())
                runs = runs_left_out(plan, controller.state, day, count - before, reached)
                events.append(NumbersLeftOut(at=now, business_day=day, runs=runs))
                counts[day] = count
        if not events:
            return True
        try:
            await self._journal.note_reached({each.business_day: reach(each) for each in events})
        except JournalError as error:
            log.critical("numbers that may be on somebody's paper can't be left out: %s", error)
            return False
        outcome = await controller.record(*events)
        if isinstance(outcome, Refusal):
            log.critical("numbers that may be on somebody's paper can't be left out: %s", outcome)
            return False
        for event in events:
            _tell(event)
        await self._note(counts)
        return True

    async def _note(self, counts: ByDay) -> None:
        try:
            await self._journal.note_left_out(counts)
        except JournalError as error:
            log.warning("as many numbers are left out at the next start once more: %s", error)

    async def settle(self) -> None:
        """All is done, if the date was known; else the days are still to come on which it counts.

        Raises ``JournalError``.
        """
        self._is_owed = not self._is_dated
        if not self._is_owed:
            await self._journal.settle()

    async def settle_when_dated(self) -> bool:
        """Whether a day may begin: none, whose numbers would have to be left out first."""
        if not self._is_owed:
            return True
        now, pending = self._clock.now(), self._journal.pending
        assert pending is not None, "it is owed until it is settled"
        if not now.synced and business_day(self._controller.plan, now) in pending.left_out:
            return True
        if not await self._leave_out():
            return False
        if not now.synced:
            return True
        try:
            await self.settle()
        except JournalError as error:
            log.warning("the journal is taken for an old copy at the next start, too: %s", error)
        return True


def _tell(event: NumbersLeftOut) -> None:
    log.critical(
        "the journal is an old copy that was put back: on %s nobody gets %s, for they may be on "
        "somebody's paper. Where too few remain, give the service more numbers. Who was waiting "
        "and is not in the copy must take a new number",
        event.business_day,
        ", ".join(f"{run.prefix}{run.first} to {run.prefix}{run.last}" for run in event.runs),
    )


def count_left_out(seconds: float, lost_events: int) -> int:
    """How many numbers of each service may have been issued since the copy was made."""
    tickets = (lost_events + EVENTS_PER_TICKET - 1) // EVENTS_PER_TICKET
    return UNKNOWN_TAIL + max(0, int(seconds / 60 * ISSUED_PER_MINUTE), tickets)


def reach(event: NumbersLeftOut) -> frozenset[str]:
    """Up to which numbers it leaves some out."""
    return frozenset(f"{run.prefix}{run.last}" for run in event.runs)


def runs_left_out(
    plan: HallPlan,
    state: HallState,
    day: BusinessDay,
    count: int,
    reached: frozenset[str] = frozenset(),
) -> tuple[NumberRun, ...]:
    """The next ``count`` numbers of each service behind those that are spent or were ``reached``;
    half of those that it has left then, at most: people who come must get one."""
    spent: Spent = state.spent if day == state.business_day else state.spent_on.get(day, {})
    runs = []
    for service in plan.services.values():
        known = spent.get(service.prefix, ())
        first = next_unspent(known, service.first_number, service.last_number)
        if first is None:
            continue
        gone = max((first - 1, *_reached_of(service, reached)))
        last = gone + min(count, (service.last_number - gone) // 2)
        if last >= first:
            runs.append(NumberRun(prefix=service.prefix, first=first, last=last))
    return tuple(runs)


def _reached_of(service: Service, reached: frozenset[str]) -> list[int]:
    """Two services may share a prefix, each with numbers of its own."""
    ordinals = [
        int(number.removeprefix(service.prefix))
        for number in reached
        if number.rstrip("0123456789") == service.prefix
    ]
    return [n for n in ordinals if service.first_number <= n <= service.last_number]

"""The one writer of a hall: commands in, durable events out.

All commands go through one task. It takes whatever has been submitted meanwhile, decides one
after the other on the state that the former would leave, makes the events of all of them durable
in one append, and only then shows them to anybody. If the append fails, nothing has happened: the
new state is forgotten and every command of the group is refused by name.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from contract.commands import Command, Refusal, RefusalReason
from contract.events import HallEvent
from contract.names import Moment
from edge.clock import Clock
from edge.journal.errors import JournalError, JournalGuardViolated
from edge.queue.apply import apply
from edge.queue.decide import Events, decide
from edge.queue.plan import HallPlan
from edge.queue.state import HallState

log = logging.getLogger(__name__)

MAX_GROUP = 256
"""Commands that share one append."""
MAX_WAITING = 4096
"""Commands that may wait for the writer; a flood beyond is refused."""


class EventLog(Protocol):
    """What the controller needs of a journal."""

    async def append(self, events: Sequence[HallEvent]) -> int:
        """Make all of them durable, or none; the position of the last. Raises ``JournalError``."""
        ...


Listener = Callable[[HallEvent, HallState], None]
"""(a durable event, the state after its group). Called in order, on the event loop; must not
block and must not raise: one that raises is reported, and the others are still told."""

Outcome = Events | Refusal


@dataclass(slots=True)
class _Submission:
    work: Command | Events
    """A command, or facts that need no decision (a device changed, the controller started)."""
    outcome: "asyncio.Future[Outcome]"


class Controller:
    """Holds the committed state of the hall and lets one task change it."""

    def __init__(
        self, plan: HallPlan, state: HallState, position: int, journal: EventLog, clock: Clock
    ) -> None:
        self.plan = plan
        self.state = state
        """The committed state: all of it is on disk."""
        self.position = position
        """The journal's position of the last event that ``state`` contains."""
        self.journal_refuses = False
        """The last append failed: presses are refused until one succeeds."""
        self.refused: dict[str, int] = {}
        """How many commands were refused, by reason, since start."""
        self._journal = journal
        self._clock = clock
        self._listeners: list[Listener] = []
        self._journal_listeners: list[Callable[[], None]] = []
        self._submissions: deque[_Submission] = deque()
        self._some = asyncio.Event()
        self._stopping = False

    def subscribe(self, listener: Listener) -> None:
        """Tell ``listener`` of every event, from the next one on."""
        self._listeners.append(listener)

    def on_journal_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever ``journal_refuses`` has changed; it must not block."""
        self._journal_listeners.append(listener)

    def _journal_changed(self) -> None:
        for listener in self._journal_listeners:
            listener()

    async def submit(self, command: Command) -> Outcome:
        """The durable events that ``command`` led to, or why it was refused. Never raises for a
        journal that fails: that is a refusal too."""
        return await self._submit(command, command.command)

    async def record(self, *events: HallEvent) -> Outcome:
        """Make facts durable that the queue has no rules for."""
        return await self._submit(events, "record")

    async def _submit(self, work: Command | Events, name: str) -> Outcome:
        if self._stopping:
            return self._refused(Refusal(reason=RefusalReason.STOPPING, command=name))
        if len(self._submissions) >= MAX_WAITING:
            return self._refused(
                Refusal(
                    reason=RefusalReason.OVERLOADED,
                    command=name,
                    detail=f"{MAX_WAITING} commands are waiting already",
                )
            )
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._submissions.append(_Submission(work, outcome))
        self._some.set()
        return await outcome

    async def run(self) -> None:
        """Write until cancelled. What was submitted by then is refused, nobody waits for ever."""
        writing = asyncio.create_task(self._write(), name="write")
        try:
            await asyncio.shield(writing)
        finally:
            self._stopping = True
            self._some.set()
            await writing  # what is on disk is shown to people, also at a stop

    async def _write(self) -> None:
        """One task for all groups: a task for each would cost more than deciding it."""
        try:
            while not self._stopping:
                await self._some.wait()
                self._some.clear()
                while self._submissions and not self._stopping:
                    await self._decide_and_commit(self._next_group())
        finally:
            for submission in self._submissions:
                self._answer(submission, Refusal(reason=RefusalReason.STOPPING, command="stop"))
            self._submissions.clear()

    def _next_group(self) -> list[_Submission]:
        count = min(len(self._submissions), MAX_GROUP)
        return [self._submissions.popleft() for _ in range(count)]

    async def _decide_and_commit(self, group: list[_Submission]) -> None:
        state = self.state
        now = self._clock.now()
        events: list[HallEvent] = []
        outcomes: list[Outcome] = []
        for submission in group:
            outcome, state = self._decide(submission.work, state, now)
            if not isinstance(outcome, Refusal):
                events += outcome
            outcomes.append(outcome)
        if events:
            try:
                position = await self._journal.append(events)
            except JournalGuardViolated as violation:
                await self._guard_refused(group, violation)
                return
            except JournalError as error:
                self._journal_failed(group, error)
                return
            except Exception as bug:
                self._refuse_all(group, repr(bug))  # the hall ends by it, and nobody waits on
                raise
            self._journal_works()
            self.state, self.position = state, position
        for submission, outcome in zip(group, outcomes, strict=True):
            self._answer(submission, outcome)
        self._tell(events)

    def _decide(
        self, work: Command | Events, state: HallState, now: Moment
    ) -> tuple[Outcome, HallState]:
        """What becomes of ``work``, and the state after it. The state is immutable, so that a bug
        in one command leaves the hall as it was: the press is refused, and the hall goes on."""
        try:
            outcome = work if isinstance(work, tuple) else decide(self.plan, state, work, now)
            if isinstance(outcome, Refusal):
                return outcome, state
            after = state
            for event in outcome:
                after = apply(after, event)
        except Exception as bug:
            log.critical("a bug stopped a command: %s", work, exc_info=True)
            return self._stopped_by_bug(work, repr(bug)), state
        return outcome, after

    @staticmethod
    def _stopped_by_bug(work: Command | Events, detail: str) -> Refusal:
        name = "record" if isinstance(work, tuple) else work.command
        return Refusal(reason=RefusalReason.INTERNAL_ERROR, command=name, detail=detail)

    async def _guard_refused(
        self, group: list[_Submission], violation: JournalGuardViolated
    ) -> None:
        """The second net held: a bug above. One bad command must not take others with it."""
        if len(group) > 1:
            for done, submission in enumerate(group, start=1):
                try:
                    await self._decide_and_commit([submission])
                except Exception as bug:
                    self._refuse_all(group[done:], repr(bug))
                    raise
            return
        work = group[0].work
        log.critical("a command was stopped by the journal: %s: %s", violation, work)
        self._answer(group[0], self._stopped_by_bug(work, str(violation)))

    def _journal_failed(self, group: list[_Submission], error: JournalError) -> None:
        if not self.journal_refuses:
            log.critical("presses are refused until the journal can be written again: %s", error)
            self.journal_refuses = True
            self._journal_changed()
        self._refuse_all(group, str(error))

    def _journal_works(self) -> None:
        if self.journal_refuses:
            log.warning("the journal can be written again")
            self.journal_refuses = False
            self._journal_changed()

    def _refuse_all(self, group: list[_Submission], detail: str) -> None:
        for submission in group:
            name = "record" if isinstance(submission.work, tuple) else submission.work.command
            self._answer(
                submission,
                Refusal(reason=RefusalReason.JOURNAL_UNAVAILABLE, command=name, detail=detail),
            )

    def _answer(self, submission: _Submission, outcome: Outcome) -> None:
        if isinstance(outcome, Refusal):
            self._refused(outcome)
        if not submission.outcome.done():  # who asked may have gone
            submission.outcome.set_result(outcome)

    def _refused(self, refusal: Refusal) -> Refusal:
        self.refused[refusal.reason] = self.refused.get(refusal.reason, 0) + 1
        log.info("%s", refusal)
        return refusal

    def _tell(self, events: list[HallEvent]) -> None:
        for event in events:
            for listener in self._listeners:
                try:
                    listener(event, self.state)
                except Exception:  # one listener's bug must not silence the others
                    log.exception("a listener failed on %s", event.type)

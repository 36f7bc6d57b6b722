"""What happens without anybody pressing: days, snapshots, the watchdog's food, fresh screens."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from contract.commands import Refusal
from contract.events import DayClosed, HallEvent
from edge import snapshot
from edge.clock import Clock
from edge.controller import Controller
from edge.journal.errors import JournalError
from edge.queue import day
from edge.queue.state import HallState

log = logging.getLogger(__name__)

DAY_CHECK_SECONDS = 20.0
SNAPSHOT_EVERY_EVENTS = 5_000
REFRESH_SECONDS = 1.0
"""Idle screens are brought up to date at most so often."""


class DayKeeper:
    """Opens and closes business days by the hall's calendar.

    ``may_begin``: asked before each look at it.
    """

    def __init__(
        self,
        controller: Controller,
        clock: Clock,
        may_begin: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._controller = controller
        self._clock = clock
        self._may_begin = may_begin

    async def check(self) -> None:
        """Do what the calendar asks for now."""
        if self._may_begin is not None and not await self._may_begin():
            return
        controller = self._controller
        for command in day.due(controller.plan, controller.state, self._clock.now()):
            outcome = await controller.submit(command)
            if isinstance(outcome, Refusal):
                log.error("the business day can't be kept: %s", outcome)
                return

    async def run(self) -> None:
        while True:
            await self.check()
            until_reset = day.seconds_to_reset(self._controller.plan, self._clock.now())
            await self._clock.sleep(min(DAY_CHECK_SECONDS, max(0.1, until_reset)))


class SnapshotStore(Protocol):
    async def save_snapshot(self, position: int, state: str) -> None:
        """Raises ``JournalError``."""
        ...


class SnapshotKeeper:
    """Saves the state now and then, so that a start replays only the tail of the journal."""

    def __init__(self, controller: Controller, journal: SnapshotStore) -> None:
        self._controller = controller
        self._journal = journal
        self._events = 0
        self._due = asyncio.Event()
        controller.subscribe(self._happened)

    def _happened(self, event: HallEvent, state: HallState) -> None:  # noqa: ARG002 - Listener
        self._events += 1
        if self._events >= SNAPSHOT_EVERY_EVENTS or isinstance(event, DayClosed):
            self._due.set()

    async def save(self) -> None:
        """Save now. A failure is reported and costs time at the next start, nothing else."""
        self._events = 0
        state, position = self._controller.state, self._controller.position
        if position == 0:
            return  # nothing has ever happened
        try:
            await self._journal.save_snapshot(position, snapshot.to_json(state))
        except JournalError as error:
            log.warning("no snapshot this time: %s", error)

    async def run(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            await self.save()


async def keep_screens_fresh(controller: Controller, refresh: Callable[[], None]) -> None:
    """Call ``refresh`` soon after anything happened, at most once a second."""
    happened = asyncio.Event()
    controller.subscribe(lambda event, state: happened.set())  # noqa: ARG005
    controller.on_journal_change(happened.set)
    while True:
        await happened.wait()
        happened.clear()
        refresh()
        await asyncio.sleep(REFRESH_SECONDS)

"""An event log in memory that refuses when it is told to, like a full disk."""

import asyncio
from collections.abc import Sequence

from contract.events import HallEvent
from edge.journal.errors import Guard, JournalFull, JournalGuardViolated


class MemoryLog:
    def __init__(self) -> None:
        self.events: list[HallEvent] = []
        self.appends = 0
        self.full = False
        self.refuse_type: str | None = None
        """Events of this type break a guard."""
        self._gate = asyncio.Event()
        self._gate.set()

    async def append(self, events: Sequence[HallEvent]) -> int:
        await self._gate.wait()
        if self.full:
            raise JournalFull("the disk is full")
        if any(event.type == self.refuse_type for event in events):
            raise JournalGuardViolated(Guard.NUMBER_ONCE_A_DAY)
        self.appends += 1
        self.events += events
        return len(self.events)

    def hold(self) -> None:
        """The disk takes its time: appends wait until ``let_go``."""
        self._gate.clear()

    def let_go(self) -> None:
        self._gate.set()

"""Where the centre keeps what halls said, behind a small Protocol.

``sqlite`` fills it; another database would keep the same tables.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cloud_sync.projections import DayRow
from cloud_sync.reading import DeadLetter, Received
from contract.documents import WindowStatus
from contract.names import DeviceStatus

MayBegin = Callable[[str, str], bool]
"""``(hall, epoch)``: whether a stream that is not there yet may begin now."""


def always(_hall: str, _epoch: str) -> bool:
    """For whoever sets no bound."""
    return True


@dataclass(frozen=True, slots=True)
class Position:
    """How far a stream (a hall's epoch) has come."""

    hall: str
    epoch: str
    contiguous: int
    """All of 1..contiguous are committed."""
    highest: int
    """The newest that is committed; above ``contiguous`` there is a gap between."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit did."""

    positions: tuple[Position, ...]
    """Of every stream that was in it, duplicates too."""
    inserted: int
    duplicates: int
    """The very events that were there."""
    conflicts: tuple[Received, ...] = ()
    """Other events for a place that is taken; kept as dead letters."""
    refused: tuple[Received, ...] = ()
    """Of streams that may not begin now: nothing of them is kept, nor answered."""

    def __add__(self, later: "Committed") -> "Committed":
        """Both; of a stream that is in both, the later position."""
        positions = {(each.hall, each.epoch): each for each in self.positions + later.positions}
        return Committed(
            tuple(positions.values()),
            self.inserted + later.inserted,
            self.duplicates + later.duplicates,
            self.conflicts + later.conflicts,
            self.refused + later.refused,
        )


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    service: str
    waiting: int
    called: int
    wait_p50_seconds: float | None
    wait_p90_seconds: float | None
    """Of the day's first calls."""


@dataclass(frozen=True, slots=True)
class HallFacts:
    """What is derived of one hall, for its newest business day."""

    day: DayRow | None
    events: int
    position: Position | None
    services: tuple[ServiceFacts, ...]
    windows: tuple[WindowStatus, ...]
    devices: dict[str, DeviceStatus]
    issued: int
    finished: int
    no_shows: int
    service_p50_seconds: float | None
    """At the window, of the day's finished tickets."""
    ratings: dict[str, int]


class Store(Protocol):
    """One writer. Every method is one transaction, durable when it returns.

    Errors of the database are raised as they are (``sqlite3.Error``): whoever commits does not
    acknowledge, and the halls send again.
    """

    async def commit(
        self,
        events: Sequence[Received],
        dead_letters: Sequence[DeadLetter],
        received_at: str,
        may_begin: MayBegin = always,
    ) -> Committed:
        """Keep events and what they mean. A place that is taken stays as it is; another event
        for it is a dead letter."""
        ...

    async def positions(self) -> tuple[Position, ...]:
        """The newest stream of every hall that is in service."""
        ...

    async def position(self, hall: str, epoch: str) -> Position:
        """Of this stream; at 0 where there is none."""
        ...

    async def retired(self) -> tuple[str, ...]:
        """The halls that are out of service."""
        ...

    async def retire(self, hall: str) -> None:
        """The hall is out of service until it sends events again. What it sent stays."""
        ...

    async def facts(self, hall: str) -> HallFacts:
        """What is derived of this hall."""
        ...

    async def totals(self) -> tuple[int, int]:
        """(events, dead letters that are kept), of all halls."""
        ...

    async def check(self) -> None:
        """Return when both who writes and who reads have answered; whoever writes first finishes
        what it is at."""
        ...

    async def rebuild(self) -> int:
        """Derive everything anew from the raw events. Returns how many there were."""
        ...

    def explain(self, error: sqlite3.Error) -> str:
        """One sentence: where the error is, what it means, and what to do about it."""
        ...

    async def close(self) -> None: ...

"""The hall's memory: every event, durable before anybody sees it."""

from edge.journal.errors import (
    Guard,
    JournalDamaged,
    JournalError,
    JournalFull,
    JournalGuardViolated,
    JournalLocked,
    JournalMissing,
    JournalTooNew,
)
from edge.journal.journal import Journal, Snapshot

__all__ = [
    "Guard",
    "Journal",
    "JournalDamaged",
    "JournalError",
    "JournalFull",
    "JournalGuardViolated",
    "JournalLocked",
    "JournalMissing",
    "JournalTooNew",
    "Snapshot",
]

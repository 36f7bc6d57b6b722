"""What can go wrong with a journal, by name, and the names of its guards."""

import sqlite3
from enum import StrEnum
from pathlib import Path


class JournalError(Exception):
    """The journal can't do what was asked; nothing of it was done."""


class JournalLocked(JournalError):
    """Another process has this journal open."""


class JournalMissing(JournalError):
    """The file is not where it was: removed or replaced, while it was in use or between two runs.

    A new one in its place would issue today's numbers a second time.
    """


class JournalTooNew(JournalError):
    """The file was written by a newer version of this software; it is never downgraded."""


class JournalDamaged(JournalError):
    """The file can't be trusted: the message says what is wrong, where, and the way out."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"journal {path} is damaged: {what}. It is left as it is. The way out: keep this file, "
            f"run 'nowserving-edge journal salvage {path}', and start with the new file it makes"
        )
        self.path = path
        self.what = what


class NothingToSalvage(JournalError):
    """Not one event can be read of a file; the message says how to go on without it."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"nothing can be read of {path}: not one event of a hall is in it. To go on: stop the "
            f"controller, move {path} away (keep it) together with {path.name}-wal, "
            f"{path.name}-shm and {path.name}.lock, and start again: it makes a new journal. The "
            "centre keeps what it has acknowledged. Numbers begin at the first again: whoever "
            "waits in the hall must take a new one, and hand in the old one, which somebody else "
            "will be called by"
        )


class JournalFull(JournalError):
    """The disk refuses to write (full, quota, I/O error): nothing was written; try again later."""


class Guard(StrEnum):
    """What the database itself refuses, whatever the code above believes."""

    NUMBER_ONCE_A_DAY = "number_once_a_day"
    ONE_TICKET_PER_WINDOW = "one_ticket_per_window"
    ONE_WINDOW_PER_TICKET = "one_window_per_ticket"
    ONE_CLERK_PER_WINDOW = "one_clerk_per_window"
    ONE_WINDOW_PER_CLERK = "one_window_per_clerk"
    NO_GAP = "no_gap"


class JournalGuardViolated(JournalError):
    """An append would break a guard: none of its events was kept. It shows a bug above."""

    def __init__(self, guard: Guard) -> None:
        super().__init__(f"the journal's guard {guard} refused an append")
        self.guard = guard


_GUARDS = {
    "numbers.business_day": Guard.NUMBER_ONCE_A_DAY,
    "at_window.window": Guard.ONE_TICKET_PER_WINDOW,
    "at_window.ticket": Guard.ONE_WINDOW_PER_TICKET,
    "clerk_at.window": Guard.ONE_CLERK_PER_WINDOW,
    "clerk_at.clerk": Guard.ONE_WINDOW_PER_CLERK,
    "guard: position without a gap": Guard.NO_GAP,
}
"""Guards by what SQLite's message names: the first column of the key that was broken."""

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_LET_WRITE = "Let the controller's user write to it and to its folder"
_WRITE_FAILURE = {
    sqlite3.SQLITE_FULL: "Make room on its disk",
    sqlite3.SQLITE_IOERR: "Look whether its disk is full, or failing",
    sqlite3.SQLITE_READONLY: _LET_WRITE,
}
_UNUSABLE = {
    sqlite3.SQLITE_CANTOPEN: ("can't be opened", _LET_WRITE),
    sqlite3.SQLITE_PERM: ("can't be opened", _LET_WRITE),
    sqlite3.SQLITE_BUSY: ("is held by another program", "End what else writes to it"),
    sqlite3.SQLITE_LOCKED: ("is held by another program", "End what else writes to it"),
}
"""What to do about it, by what SQLite reports."""


def named(error: sqlite3.Error, path: Path) -> JournalError:
    """The journal's own error for what SQLite reports."""
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if primary in _DAMAGE:
        return JournalDamaged(path, f"{error} ({name})")
    if primary in _WRITE_FAILURE:
        return JournalFull(
            f"journal {path} can't be written: {error} ({name}). {_WRITE_FAILURE[primary]}"
        )
    if primary in _UNUSABLE:
        what, remedy = _UNUSABLE[primary]
        return JournalError(f"journal {path} {what}: {error} ({name}). {remedy}")
    if primary == sqlite3.SQLITE_CONSTRAINT:
        for words, guard in _GUARDS.items():
            if words in str(error):
                return JournalGuardViolated(guard)
    return JournalError(f"journal {path}: {error} ({name})")

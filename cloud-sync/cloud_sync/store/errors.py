"""What can go wrong with the centre's file, in sentences: which file, what is wrong, what next."""

import sqlite3
from pathlib import Path


class StoreError(Exception):
    """The file can't be used as it is."""


class StoreLocked(StoreError):
    """Another process has the file open."""


class SchemaTooNew(StoreError):
    """The file was written by a later version of this program."""


KEY = "key path in [store] of the configuration"
_REMEDIES = {
    frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}): (
        "can't be opened for writing",
        f"Let this user write to the file and to its folder, or name another file: {KEY}",
    ),
    frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}): (
        "is damaged, or no database",
        (
            "It is left as it is. Put a copy back, or move it away and start with a new one: the "
            "halls send again what their journals still hold"
        ),
    ),
    frozenset({sqlite3.SQLITE_FULL}): (
        "can't be written",
        "Make room on its disk. The halls keep what is not acknowledged",
    ),
    frozenset({sqlite3.SQLITE_IOERR}): (
        "can't be read or written",
        "Look whether its disk is full, or failing. The halls keep what is not acknowledged",
    ),
    frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}): (
        "is held by another program",
        "End what else writes to it",
    ),
}


def explained(error: sqlite3.Error, path: Path) -> str:
    """One sentence for what SQLite reports, and what to do about it."""
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    for codes, (what, remedy) in _REMEDIES.items():
        if primary in codes:
            return f"store {path} {what}: {error} ({name}). {remedy}"
    return f"store {path}: {error} ({name})"


def no_file(path: Path, error: OSError | RuntimeError) -> StoreError:
    """For a file, or its lock or folder, that the system won't let us make."""
    why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else f"{error}"
    return StoreError(
        f"store {path} can't be opened: {why}. Let this user make "
        f"files there, or name another file: {KEY}"
    )

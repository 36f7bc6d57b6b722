"""The journal's file: opened, created, looked over. Synchronous; ``journal.Journal`` runs it."""

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from contract.envelope import CloudEvent
from contract.names import Epoch, HallId
from edge.journal.companion import NOT_LIVED_YET, FileLock
from edge.journal.errors import (
    JournalDamaged,
    JournalError,
    JournalMissing,
    named,
)
from edge.journal.migrations import migrate, refuse_others

TAIL = 200
"""So many of the newest events are looked over at every start."""

PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA journal_size_limit = 16777216",
    "PRAGMA temp_store = MEMORY",
)
"""For every connection that writes. FULL: a commit returns when it is on the disk."""


BUSY_SECONDS = 0.2
"""So long a foreign lock is waited for: the journal has one writer, and a press wants an answer."""


@dataclass(frozen=True)
class Contents:
    """What the file says of itself."""

    hall: HallId
    epoch: Epoch
    base: int
    """Position of the last event before this epoch."""
    acked: int
    """Position up to which the centre keeps everything."""
    position: int
    """Position of the newest event."""
    life: str = NOT_LIVED_YET
    """See ``Companion``."""


def true_path(path: Path) -> Path:
    """Where links lead: SQLite puts its files beside the true one, and so do we.

    Raises ``JournalMissing`` for one that leads nowhere: its disk may not be mounted; and
    ``JournalError`` where nobody may look, or links lead in a circle.
    """
    try:
        path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            raise JournalMissing(
                f"journal {path} leads to {path.resolve()}, where there is none: mount its disk, "
                "or put it back. To begin with a new one there, name that file itself (path in "
                "[journal])"
            ) from None
    except OSError as error:
        raise JournalError(
            f"journal {path} can't be looked for: {error.strerror}. Let the controller's user into "
            "its folder, or name another file (path in [journal])"
        ) from error
    return path.resolve()


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit, ready to write. Raises ``sqlite3.Error``, and ``JournalError``
    for a database of something else, which is left as it is: WAL would be written into it."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)
    try:
        refuse_others(connection, path)
        for pragma in PRAGMAS:
            connection.execute(pragma)
    except (sqlite3.Error, JournalError):
        connection.close()
        raise
    return connection


def open_or_create(
    path: Path, lock: FileLock, hall: HallId, new_epoch: Callable[[], Epoch]
) -> Contents:
    """Bring the file to the newest version and look it over; create it where there never was one.

    The look is cheap, whatever the file's size: header, version, the newest events and what the
    file says of itself. ``check_all`` is the thorough one.

    Raises ``JournalDamaged``, ``JournalMissing``, ``JournalTooNew``, ``JournalFull``,
    ``JournalError``.
    """
    if lock.was_used():
        _refuse_nothing(path, lock)
    try:
        connection = connect(path)
        try:
            migrate(connection, path)
            contents = read_contents(connection, path)
            if contents is None:
                if lock.was_used():
                    raise _missing(path, lock, "has nothing in it")
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    introduce(connection, hall, new_epoch(), base=0)
                sync_folder(path.parent)
                contents = read_contents(connection, path)
                assert contents is not None
            if contents.hall != hall:
                raise JournalError(
                    f"journal {path} belongs to hall {contents.hall!r}, this is hall {hall!r}: "
                    "name a file of its own (path in [journal]), or set the id back"
                )
            _check_tail(connection, path, contents)
            _read_guards(connection)
            (life,) = connection.execute("SELECT life FROM journal").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise named(error, path) from error
    return replace(contents, life=life)


def _refuse_nothing(path: Path, lock: FileLock) -> None:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise _missing(path, lock, "is not there") from None
    except OSError:
        return  # SQLite will say it
    if size == 0:
        raise _missing(path, lock, "is empty")


def _missing(path: Path, lock: FileLock, how: str) -> JournalMissing:
    return JournalMissing(
        f"journal {path} {how}, though there was one: put it back. To begin with a new one, remove "
        f"{lock.path}; numbers begin at the first again then, so whoever waits in the hall must "
        "take a new one, and hand in the old one"
    )


def introduce(
    connection: sqlite3.Connection,
    hall: HallId,
    epoch: Epoch,
    base: int,
    life: str = NOT_LIVED_YET,
) -> None:
    """Let a new file say whose it is; what stands up to ``base`` is kept by the centre."""
    connection.execute(
        "INSERT INTO journal (only, hall, acked, life) VALUES (1, ?, ?, ?)", (hall, base, life)
    )
    connection.execute("INSERT INTO epochs (epoch, base) VALUES (?, ?)", (epoch, base))


def sync_file(path: Path) -> None:
    """Make what was written to the file durable."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(folder: Path) -> None:
    """A new file's name is durable when its folder is."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_contents(connection: sqlite3.Connection, path: Path) -> Contents | None:
    """What the file says of itself; ``None`` for a new one. Raises ``JournalDamaged``."""
    position: int = connection.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()[
        0
    ]
    journal = connection.execute("SELECT hall, acked FROM journal").fetchone()
    epoch = connection.execute(
        "SELECT epoch, base FROM epochs ORDER BY number DESC LIMIT 1"
    ).fetchone()
    if journal is None and epoch is None and position == 0:
        return None
    if journal is None or epoch is None:
        raise JournalDamaged(path, "it does not say whose it is")
    contents = Contents(
        hall=journal[0], epoch=epoch[0], base=epoch[1], acked=journal[1], position=position
    )
    if not contents.base <= contents.acked <= contents.position:
        raise JournalDamaged(
            path,
            f"its events end at {position}, but it knows of {max(contents.base, contents.acked)}",
        )
    return contents


def _check_tail(connection: sqlite3.Connection, path: Path, contents: Contents) -> None:
    """The newest events are there without a gap, and each is what its place says."""
    rows = connection.execute(
        "SELECT position, body FROM events ORDER BY position DESC LIMIT ?", (TAIL,)
    )
    expected = contents.position
    for position, body in rows:
        if position != expected:
            raise JournalDamaged(path, f"events {position + 1} to {expected} are missing")
        problem = problem_of(body, position, contents)
        if problem is not None:
            raise JournalDamaged(path, f"event {position}: {problem}")
        expected -= 1
    if expected > 0 and contents.position < TAIL:
        raise JournalDamaged(path, f"events 1 to {expected} are missing")


def _read_guards(connection: sqlite3.Connection) -> None:
    """Who is at which window must be readable now, not only when somebody presses a key."""
    connection.execute("SELECT * FROM at_window").fetchall()
    connection.execute("SELECT * FROM clerk_at").fetchall()


def problem_of(body: str, position: int, contents: Contents) -> str | None:
    """What is wrong with an event's text at this position, if anything."""
    try:
        envelope = CloudEvent.model_validate_json(body)
    except ValidationError as error:
        return f"not an event of a hall ({error.errors()[0]['msg']})"
    if envelope.hall != contents.hall:
        return f"it is of hall {envelope.hall!r}"
    if position > contents.base:
        seq = position - contents.base
        if (envelope.epoch, envelope.seq) != (contents.epoch, seq):
            return f"it says {envelope.id}, its place says {contents.epoch}.{seq}"
    return None


def newest(path: Path, count: int) -> list[tuple[int, str]]:
    """The last ``count`` events of a journal, oldest first: (position, CloudEvent in JSON).

    Read-only; may run while the controller works. Raises ``JournalError``.
    """
    return _last(path, "SELECT position, body FROM events ORDER BY position DESC LIMIT ?", count)


def newest_dead_letters(path: Path, count: int) -> list[tuple[str, str, str, bytes]]:
    """The last ``count`` messages that could not be taken, oldest first: (time received, topic,
    reason, beginning of the payload).

    Read-only; may run while the controller works. Raises ``JournalError``.
    """
    return _last(
        path,
        "SELECT received_at, topic, reason, payload FROM dead_letters ORDER BY id DESC LIMIT ?",
        count,
    )


def _last(path: Path, newest_first: str, count: int) -> list[Any]:
    if not path.is_file():
        raise JournalError(f"there is no file {path}")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        rows = connection.execute(newest_first, (count,)).fetchall()
    except sqlite3.Error as error:
        raise named(error, path) from error
    finally:
        connection.close()
    return list(reversed(rows))


def check_all(path: Path) -> list[str]:
    """Look over the whole file, read-only: the problems found, none for a sound file.

    Takes as long as reading the file. May run while the controller works. Raises ``JournalError``
    where there is no such file or it is not a journal at all.
    """
    if not path.is_file():
        raise JournalError(f"there is no file {path}")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        problems = [
            text for (text,) in connection.execute("PRAGMA integrity_check(20)") if text != "ok"
        ]
        contents = read_contents(connection, path)
        if contents is None:
            return problems
        expected = 1
        for position, body in connection.execute(
            "SELECT position, body FROM events ORDER BY position"
        ):
            if position != expected:
                problems.append(f"events {expected} to {position - 1} are missing")
            problem = problem_of(body, position, contents)
            if problem is not None:
                problems.append(f"event {position}: {problem}")
            expected = position + 1
            if len(problems) >= 20:
                break
    except sqlite3.Error as error:
        return [f"{error}"]
    except JournalDamaged as damage:
        return [damage.what]
    finally:
        connection.close()
    return problems

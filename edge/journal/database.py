"""The journal's file: opened, created, looked over. Synchronous; ``journal.Journal`` runs it."""

import fcntl
import os
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from contract.envelope import CloudEvent
from contract.names import Epoch, HallId
from edge.journal.errors import JournalDamaged, JournalError, JournalLocked, named
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

_MARK = "There is a journal beside this file. Where it is lost, remove this file to begin anew."
_COMPANION_BYTES = 256
"""Written at once and never shortened: whoever finds it after a power cut finds all or nothing."""


@dataclass(frozen=True)
class Companion:
    """What the lock's file knows of the journal beside it."""

    inode: int
    """Of the journal's file."""
    lives: tuple[str, ...]
    """Names that its present life may have: two while one is being exchanged for the other."""

    def to_bytes(self) -> bytes:
        text = "\n".join([_MARK, f"inode {self.inode}", *(f"life {life}" for life in self.lives)])
        return text.encode("ascii").ljust(_COMPANION_BYTES - 1) + b"\n"

    @classmethod
    def from_bytes(cls, content: bytes) -> Self | None:
        """``None`` where it does not say."""
        text = content.decode("ascii", errors="replace")
        inode = re.search(r"^inode ([0-9]+)$", text, re.MULTILINE)
        lives = re.findall(r"^life ([0-9a-f]+) *$", text, re.MULTILINE)
        return cls(int(inode[1]), tuple(lives)) if inode and lives else None


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
    life: str = ""
    """See ``Companion``; empty for a file that no controller has opened yet."""


class FileLock:
    """Held by the one process that has the journal open; the kernel frees it when it dies."""

    def __init__(self, path: Path) -> None:
        """Raises ``JournalLocked``, and ``JournalError`` where the lock's file can't be made."""
        self.path = lock = path.with_name(path.name + ".lock")
        try:
            self._fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(
                f"journal {path}: its lock file {lock} can't be made: {error.strerror}. Let the "
                "controller's user make files in that folder"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise JournalLocked(
                f"journal {path} is open in another process: stop the other controller first, or "
                "give this one a file of its own (path in [journal])"
            ) from None

    def was_used(self) -> bool:
        """Whether there has been a journal beside it."""
        return os.fstat(self._fd).st_size > 0

    def companion(self) -> Companion | None:
        """What it knows of the journal; ``None`` where there was none, or it can't be read."""
        return Companion.from_bytes(os.pread(self._fd, _COMPANION_BYTES, 0))

    def remember(self, companion: Companion) -> None:
        """From now on a journal that is not there is a loss, and another one is a copy. Raises
        ``OSError``."""
        os.pwrite(self._fd, companion.to_bytes(), 0)
        os.fsync(self._fd)

    def release(self) -> None:
        os.close(self._fd)


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


def open_or_create(path: Path, hall: HallId, new_epoch: Callable[[], Epoch]) -> Contents:
    """Bring the file to the newest version and look it over; create it where there is none.

    The look is cheap, whatever the file's size: header, version, the newest events and what the
    file says of itself. ``check_all`` is the thorough one.

    Raises ``JournalDamaged``, ``JournalTooNew``, ``JournalFull``, ``JournalError``.
    """
    if not path.parent.is_dir():
        raise JournalError(
            f"journal {path}: there is no folder {path.parent}. Make it, or mount its disk"
        )
    try:
        connection = connect(path)
        try:
            migrate(connection, path)
            contents = read_contents(connection, path)
            if contents is None:
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


def introduce(connection: sqlite3.Connection, hall: HallId, epoch: Epoch, base: int) -> None:
    """Let a new file say whose it is; what stands up to ``base`` is kept by the centre."""
    connection.execute("INSERT INTO journal (only, hall, acked) VALUES (1, ?, ?)", (hall, base))
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

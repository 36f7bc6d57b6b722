"""The journal's file: opened, created, looked over. Synchronous; ``journal.Journal`` runs it."""

import fcntl
import json
import os
import re
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from contract.envelope import CloudEvent
from contract.names import BusinessDay, Epoch, HallId
from edge.journal.errors import (
    JournalDamaged,
    JournalError,
    JournalLocked,
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

_MARK = "There is a journal beside this file. Where it is lost, remove this file to begin anew."
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
NOT_LIVED_YET = ""
"""The life of a new file: see ``Companion``."""
_COMPANION_BYTES = 448
_FLOOR_BYTES = 64
_REACHED_BYTES = 4096 - 512
"""The first two within one sector, and all within a page; each written at once and never shortened:
after a power cut each is found whole, or as it was."""
_OTHERS_SECONDS = 120.0
"""So far apart are what the lock's file says of its last write and when it was changed: somebody
else did that, perhaps with another clock. After a power cut the content may be older than the
times, by the half minute that the kernel keeps it."""


ByDay = Mapping[BusinessDay, int]
"""A count of days; what was noted last comes last."""
Reached = Mapping[BusinessDay, frozenset[str]]
"""Up to which numbers some were left out: prefix and ordinal, as in ``A240``."""
_DAYS_KEPT = 3
"""There is one, and another where nobody has set the clock."""


def noted(before: ByDay, more: ByDay) -> ByDay:
    """Both together: the greater of each day."""
    days = dict(before)
    for day, count in more.items():
        days[day] = max(days.pop(day, 0), count)
    return days


def also_reached(before: Reached, more: Reached) -> Reached:
    """Both together."""
    days = dict(before)
    for day, numbers in more.items():
        days[day] = days.pop(day, frozenset()) | numbers
    return days


@dataclass(frozen=True)
class Pending:
    """What an old copy may have lost, and what was done about that."""

    since: datetime
    """Its last event, in wall time."""
    lost_events: int = 0
    """So many more the centre has, at least."""
    left_out: ByDay = field(default_factory=dict)
    """How many numbers of each service, in this file."""
    epoch: Epoch | None = None
    """The new one: where this file has it, it has begun."""

    def to_json(self) -> str:
        since, left_out = self.since.isoformat(), _plain(self.left_out)
        return _dense([since, self.lost_events, left_out, self.epoch])

    @classmethod
    def from_json(cls, text: str) -> Self | None:
        """``None`` where it says nothing."""
        try:
            since, lost_events, done, epoch = json.loads(text)
            found = cls(datetime.fromisoformat(since), int(lost_events), _by_day(done), epoch)
        except (ValueError, TypeError, AttributeError, OverflowError):
            return None
        return found if found.since.tzinfo is not None else None


def _dense(plain: Any) -> str:
    return json.dumps(plain, separators=(",", ":"))


def _plain(by_day: ByDay) -> dict[str, int]:
    return {day.isoformat(): count for day, count in [*by_day.items()][-_DAYS_KEPT:]}


def _by_day(plain: Any) -> ByDay:
    """Raises ``ValueError``, ``TypeError``, ``AttributeError``."""
    return {date.fromisoformat(day): int(count) for day, count in plain.items()}


@dataclass(frozen=True)
class Companion:
    """What the lock's file knows of the journal beside it."""

    inode: int
    """Of the journal's file."""
    lives: tuple[str, ...]
    """Names that its present life may have: two while one is being exchanged for the other."""
    position: int
    """It has so many events, at least."""
    pending: Pending | None = None
    """It is an old copy, and what follows from that is not all done."""
    noted: Reached = field(default_factory=dict)
    """For this file, while it is pending; whether it was done the file itself knows."""
    reached: Reached = field(default_factory=dict)
    """For copies before this file, which may know nothing of it."""

    def to_bytes(self) -> bytes:
        lives = [f"life {life or '-'}" for life in self.lives]
        pending = [f"pending {self.pending.to_json()}"] if self.pending else []
        text = "\n".join([_MARK, f"inode {self.inode}", *lives, *pending])
        said = _padded(text, _COMPANION_BYTES)
        assert len(said) == _COMPANION_BYTES, "the floor is written behind it"
        floor = _padded(_floor(self.position).decode("ascii"), _FLOOR_BYTES)
        reached = [*_lines("noted", self.noted), *_lines("reached", self.reached)]
        return said + floor + _padded(_cut("\n".join(reached)), _REACHED_BYTES)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self | None:
        """``None`` where it does not say."""
        text = content.decode("ascii", errors="replace")
        inode = re.search(r"^inode ([0-9]+)$", text, re.MULTILINE)
        lives = re.findall(r"^life (-|[0-9a-z]+) *$", text, re.MULTILINE)
        pending = re.search(r"^pending (.*?) *$", text, re.MULTILINE)
        position = re.search(r"^position ([0-9]+)\b", text, re.MULTILINE)
        if not inode or not lives:
            return None
        return cls(
            inode=int(inode[1]),
            lives=tuple(life.replace("-", NOT_LIVED_YET) for life in lives),
            position=int(position[1]) if position else 0,
            pending=Pending.from_json(pending[1]) if pending else None,
            noted=_from_lines("noted", text),
            reached=_from_lines("reached", text),
        )


def _padded(text: str, size: int) -> bytes:
    return text.encode("ascii").ljust(size - 1) + b"\n"


def _lines(word: str, reached: Reached) -> list[str]:
    """One for each of the last days, the newest first, with the greatest numbers first."""
    return [
        f"{word} {day} {' '.join(sorted(numbers, key=_ordinal, reverse=True))}"
        for day, numbers in [*reached.items()][: -_DAYS_KEPT - 1 : -1]
    ]


def _cut(text: str) -> str:
    """There is room for hundreds of numbers."""
    return text if len(text) < _REACHED_BYTES else text[: _REACHED_BYTES - 1].rpartition(" ")[0]


def _ordinal(number: str) -> int:
    return int(number.lstrip(_LETTERS))


def _from_lines(word: str, text: str) -> Reached:
    line = rf"^{word} ([0-9-]{{10}})((?: [A-Z]{{1,2}}[0-9]{{1,5}})+) *$"
    found = re.findall(line, text, re.MULTILINE)
    reached: dict[BusinessDay, frozenset[str]] = {}
    for day, numbers in reversed(found):
        with suppress(ValueError):  # somebody has written it
            reached[date.fromisoformat(day)] = frozenset(numbers.split())
    return reached


def _floor(position: int) -> bytes:
    """So many events, said at this time (Unix seconds)."""
    return b"position %020d at %020d\n" % (position, time.time())


def life_after_salvage(life: str, position: int) -> str:
    """The life of a file that is to follow a journal with this life and so many events. One that
    never lived, or was made by a salvage and never used, is not followed."""
    known = life != NOT_LIVED_YET and salvaged_from(life) is None
    return f"salvaged{life if known else 'unknown'}at{position}"


def salvaged_from(life: str) -> tuple[str, int] | None:
    """The life of the journal that a salvage was made of, and its last position."""
    found = re.fullmatch(r"salvaged([0-9a-z]+)at([0-9]+)", life)
    return (found[1], int(found[2])) if found else None


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


class FileLock:
    """Held by the one process that has the journal open; the kernel frees it when it dies."""

    def __init__(self, path: Path) -> None:
        """Raises ``JournalLocked``, and ``JournalError`` where the lock's file can't be made."""
        self.path = lock = path.with_name(path.name + ".lock")
        try:
            self._fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise JournalError(
                f"journal {path}: there is no folder {path.parent}. Make it, or mount its disk"
            ) from None
        except OSError as error:
            raise JournalError(
                f"journal {path}: its lock file {lock} can't be opened: {error.strerror}. Let the "
                "controller's user write to it, and make files in that folder"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise JournalLocked(
                f"journal {path} is open in another process: stop the other controller first, or "
                "give this one a file of its own (path in [journal])"
            ) from None
        except OSError as error:
            os.close(self._fd)
            raise JournalError(
                f"journal {path}: its lock file {lock} can't be locked: {error.strerror}. Keep the "
                "journal on a disk of this machine"
            ) from error
        self.identity = _identity_of(os.fstat(self._fd))
        """Where the name has another, another controller may take the journal."""

    def was_used(self) -> bool:
        """Whether there has been a journal beside it."""
        return os.fstat(self._fd).st_size > 0

    def companion(self) -> Companion | None:
        """What it knows of the journal; ``None`` where there was none, or it makes no sense. Raises
        ``OSError``."""
        return Companion.from_bytes(self._content())

    def was_put_back(self) -> bool:
        """Whether somebody else wrote to it since: a backup of the whole folder came over it. No
        copying sets a file's ctime back. Raises ``OSError``."""
        said = re.search(rb"^position [0-9]+ at ([0-9]+)$", self._content(), re.MULTILINE)
        if said is None:
            return False
        return abs(os.fstat(self._fd).st_ctime - int(said[1])) > _OTHERS_SECONDS

    def _content(self) -> bytes:
        return os.pread(self._fd, _COMPANION_BYTES + _FLOOR_BYTES + _REACHED_BYTES, 0)

    def raise_floor(self, position: int) -> None:
        """The journal has so many events on its disk. Not synced: a kill loses nothing of it, and a
        power cut the last half minute."""
        with suppress(OSError):
            os.pwrite(self._fd, _floor(position), _COMPANION_BYTES)

    def remember(self, companion: Companion) -> None:
        """From now on a journal that is not there is a loss, and another one is a copy. Raises
        ``OSError``."""
        os.pwrite(self._fd, companion.to_bytes(), 0)
        os.fsync(self._fd)

    def put_back(self) -> None:
        """The file was removed with the journal, perhaps: who starts next must know that there was
        one. What can't be done for that now can't be helped."""
        with suppress(OSError):
            known = self.companion()
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, _MARK.encode() if known is None else known.to_bytes())
                os.fsync(fd)
            finally:
                os.close(fd)

    def release(self) -> None:
        os.close(self._fd)


Identity = tuple[int, int]
"""Device and inode."""


def identity(path: Path | str) -> Identity | None:
    """Of the file that has this name now; ``None`` where there is none."""
    try:
        return _identity_of(os.stat(path))
    except OSError:
        return None


def _identity_of(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


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

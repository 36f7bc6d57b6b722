"""The lock's file beside the journal: who has it open, and what the journal itself can't know.

A copy of the journal that is put back knows nothing of what came after it. The file beside does: by
which life and how many events the journal was seen last, and until which numbers some were left out
for copies that were put back before.
"""

import fcntl
import json
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self

from contract.names import BusinessDay, Epoch
from edge.journal.errors import JournalError, JournalLocked

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

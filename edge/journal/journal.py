"""The hall's memory: an event log with snapshots in SQLite. One process, one writer.

An event's *position* is its place in this file: 1, 2, 3 … without a gap, for ever. Its *seq* is its
number on the wire, within the current epoch. They are the same until ``start_new_epoch``.
Snapshots and replay go by position; the uplink goes by seq.
"""

import asyncio
import hashlib
import logging
import os
import secrets
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self

import aiosqlite
import pydantic_core
from pydantic import ValidationError

from contract.envelope import SEQUENCE_DIGITS, CloudEvent, UnknownEventType, to_json
from contract.events import HallEvent, TicketEvent
from contract.names import BusinessDay, Epoch, HallId, TicketNumber
from edge.journal.companion import (
    NOT_LIVED_YET,
    ByDay,
    Companion,
    FileLock,
    Identity,
    Pending,
    Reached,
    also_reached,
    identity,
    noted,
    salvaged_from,
)
from edge.journal.database import BUSY_SECONDS, PRAGMAS, Contents, open_or_create, true_path
from edge.journal.errors import (
    Guard,
    JournalDamaged,
    JournalError,
    JournalFull,
    JournalGuardViolated,
    JournalMissing,
    named,
)

log = logging.getLogger(__name__)

ACKED_IS_WRITTEN_EVERY_SECONDS = 30.0
"""The cursor may lag behind on disk: what is sent twice is taken once by the centre."""

_CHUNK = 500
"""Events in memory at once when many are gone through."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_DAY = timedelta(days=1)

_BEHIND_ALL_DAYS = ":"
"""Sorts behind every digit."""

_INTO = "INSERT INTO incoming (position, body, type, ticket, number, business_day, window, clerk)"
_ROW = "(?, ?, ?, ?, ?, ?, ?, ?)"
_FEW = 64
"""Rows that are bound one by one: a third quicker than as JSON, and presses wait. Each number of
rows is a statement of its own, which is kept in memory, and SQLite binds 32,766 values at most
(https://www.sqlite.org/limits.html): a day with all its tickets may end at once."""
_INTO_MANY = f"""{_INTO}
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
  value ->> 7
FROM json_each(?)
"""  # noqa: S608 - nothing from outside

_BYTES = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"

_RENUMBER = """
UPDATE events SET body = json_set(body, '$.id', ?1 || '.' || (position - ?2),
  '$.sequence', format('%0*d', ?3, position - ?2), '$.epoch', ?1)
WHERE position > ?2
"""
"""As ``contract.envelope.renumber`` does, but in the database's thread and several times as fast:
presses wait for it."""


_Row = tuple[str | int | None, ...]


class Snapshot(NamedTuple):
    position: int
    """Of the last event that the state contains."""
    state: str
    """As it was saved; empty for a hall that begins anew at this position (see ``salvage``)."""


class DeadLetter(NamedTuple):
    """What came from the broker and could not be taken."""

    received_at: datetime
    topic: str
    reason: str
    payload: bytes
    """Its beginning."""


class Journal:
    """The open journal. Made by ``open``; only for the event loop that opened it."""

    def __init__(
        self,
        path: Path,
        lock: FileLock,
        database: aiosqlite.Connection,
        *,
        contents: Contents,
        known: Companion | None,
        new_epoch: Callable[[], Epoch],
    ) -> None:
        self.path = path
        self.hall = contents.hall
        self.epoch = contents.epoch
        self.counters: Counter[str] = Counter()
        self._file_lock = lock
        self._files = _Files(path, lock)
        self._position = contents.position
        self._life = contents.life
        self.pending = known.pending if known is not None else None
        """Of an old copy, or of a file from elsewhere, until ``settle``: see ``edge.old_copy``."""
        self.reached: Reached = known.reached if known is not None else {}
        """For old copies before this one, which may know nothing of it."""
        self._noted: Reached = known.noted if known is not None else {}
        """For this one, whether it was done or not."""
        self._ended_at = _LONG_AGO
        """When the last event happened that was there at the start."""
        self._database = database
        self._new_epoch = new_epoch
        self._base = contents.base
        self._acked = self._acked_on_disk = contents.acked
        self._acked_written_at = asyncio.get_running_loop().time()
        self._one_writer = asyncio.Lock()
        self._append_was_left = False
        """By a caller that was cancelled: whether it was kept is not known here."""
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, hall: HallId, new_epoch: Callable[[], Epoch]) -> Self:
        """Open the file, create or migrate it, and look it over (not all of it: it may be big).

        Raises ``JournalDamaged``, ``JournalLocked``, ``JournalMissing``, ``JournalTooNew``,
        ``JournalFull``, ``JournalError``.
        """
        path = true_path(path)
        lock = FileLock(path)
        try:
            contents = await asyncio.to_thread(open_or_create, path, lock, hall, new_epoch)
            database = await _connect(path)
        except BaseException:
            lock.release()
            raise
        try:
            known = lock.companion()
            journal = cls(path, lock, database, contents=contents, known=known, new_epoch=new_epoch)
            await journal._find_end()
            if journal._is_copy(known):
                journal._begin_as_copy()
            await journal._renew_life()
            journal._files.look()
        except BaseException as error:
            await database.close()  # its thread would outlive us
            lock.release()
            if isinstance(error, OSError):
                raise JournalError(f"{lock.path} can't be read: {error.strerror}") from error
            raise
        return journal

    # --- copies -----------------------------------------------------------------------------

    @property
    def was_put_back(self) -> bool:
        """It is an old copy, and what follows from that is not all done."""
        return self.pending is not None

    def _is_copy(self, known: Companion | None) -> bool:
        """Whether the file beside knows another journal than this: its life is another, or it is
        the same in another file, or with fewer events, or both were put back. What a salvage has
        made follows the journal that it was made of, and no other."""
        if known is None:
            return self._life != NOT_LIVED_YET
        if self._life in known.lives:
            is_another = self._files.inode != known.inode or self._position < known.position
            return is_another or self._file_lock.was_put_back()
        source = salvaged_from(self._life)
        if source is None or source[0] not in known.lives or source[1] < known.position:
            return True
        # Whatever it has lost may have left numbers out on a day that is not over, which no guard
        # has noted. (A day here is one of UTC, and a hall's is not.)
        oldest = (max(self._ended_at, _LONG_AGO + 2 * _DAY) - _DAY).date()
        lost = any(day >= oldest for day in {*known.noted, *known.reached})
        return lost or self._file_lock.was_put_back()

    def _begin_as_copy(self) -> None:
        """It is one, and another than was found before, if there was one."""
        lost_events = self.pending.lost_events if self.pending else 0
        self.pending = Pending(self._ended_at, lost_events)
        self._noted_before_now()

    def _noted_before_now(self) -> None:
        self.reached, self._noted = also_reached(self.reached, self._noted), {}

    async def _find_end(self) -> None:
        async for _, event in self.events_since(self._position - 1):
            self._ended_at = event.at.wall

    @property
    def wants_new_epoch(self) -> bool:
        """It was put back, and goes on under the epoch of what it is a copy of."""
        return self.pending is not None and self.pending.epoch != self.epoch

    async def settle(self) -> None:
        """What is to be done about a journal that was put back is done, and on the disk.

        Raises ``JournalFull``, ``JournalError``.
        """
        async with self._one_writer:
            before = self.pending, self.reached, self._noted
            self.pending = None
            self._noted_before_now()
            try:
                await self._renew_life()
            except BaseException:
                self.pending, self.reached, self._noted = before
                raise

    async def unsettle(self, lost_events: int) -> None:
        """It was found out to be an old copy, with so many events less than the centre has: until
        ``settle``, whoever opens it finds one.

        Raises ``JournalFull``.
        """
        pending = self.pending or Pending(self._ended_at)
        lost_events = max(pending.lost_events, lost_events)
        await self._keep(replace(pending, lost_events=lost_events, epoch=None))

    async def note_reached(self, reached: Reached) -> None:
        """Numbers are about to be left out up to these.

        Raises ``JournalFull``.
        """
        self._noted = also_reached(self._noted, reached)
        await self._keep(self.pending or Pending(self._ended_at))

    async def note_left_out(self, left_out: ByDay) -> None:
        """So many numbers of each service are left out on these days in this file.

        Raises ``JournalFull``.
        """
        pending = self.pending or Pending(self._ended_at)
        await self._keep(replace(pending, left_out=noted(pending.left_out, left_out)))

    async def _keep(self, pending: Pending) -> None:
        async with self._one_writer:
            self.pending = pending
            self._remember(self._life)

    async def _renew_life(self) -> None:
        """Make whatever copies there are of this file into old ones."""
        before, life = self._life, secrets.token_hex(16)
        self._remember(before, life)
        await self._run("UPDATE journal SET life = ?", (life,))
        self._life = life
        self._remember(life)

    def _remember(self, *lives: str) -> None:
        try:
            self._file_lock.remember(
                Companion(
                    inode=self._files.inode,
                    lives=lives,
                    position=self._position,
                    pending=self.pending,
                    noted=self._noted,
                    reached=self.reached,
                )
            )
        except OSError as error:
            raise JournalFull(
                f"{self._file_lock.path} can't be written: {error.strerror}. Make room on its disk"
            ) from error

    @property
    def position(self) -> int:
        """Position of the newest event; 0 when there is none."""
        return self._position

    @property
    def head(self) -> int:
        """seq of the newest event of this epoch; 0 when there is none."""
        return self._position - self._base

    @property
    def acked(self) -> int:
        """seq up to which the centre has said it keeps everything."""
        return self._acked - self._base

    # --- events -----------------------------------------------------------------------------

    async def append(self, events: Sequence[HallEvent]) -> int:
        """Make events durable, all or none; returns the position of the last.

        Carries on to its end when the caller is cancelled. Raises ``JournalFull``,
        ``JournalGuardViolated``, ``JournalDamaged``, ``JournalMissing``, ``JournalError``: none
        was kept. (Of a write whose sync failed, a crash before the next one may keep all.)
        """
        async with self._one_writer:
            await self._look_for_files()
            if self._append_was_left:
                await self._find_position()
            if events:
                first = self._position + 1
                await self._insert([self._row(*each) for each in enumerate(events, first)])
                self._position += len(events)
                self._file_lock.raise_floor(self._position)
            return self._position

    async def _insert(self, rows: Sequence[_Row]) -> None:
        """One statement: it is one transaction, and one hop through the database's thread."""
        try:
            if len(rows) <= _FEW:
                statement = f"{_INTO} VALUES {', '.join([_ROW] * len(rows))}"
                await self._run(statement, [field for row in rows for field in row])
            else:
                await self._run(_INTO_MANY, (pydantic_core.to_json(rows).decode(),))
        except JournalGuardViolated as violation:
            if violation.guard is Guard.NO_GAP:
                raise self._written_by_another(f"there is an event {self._position + 1}") from None
            raise
        except asyncio.CancelledError:
            # The database's thread carries on. A task to wait for that would shield us, and cost a
            # sixth of every append; to ask the next time costs nothing.
            self._append_was_left = True
            raise

    async def _find_position(self) -> None:
        ((self._position,),) = await self._run("SELECT coalesce(max(position), 0) FROM events")
        self._append_was_left = False

    def _row(self, position: int, event: HallEvent) -> _Row:
        """An event's place and text, and what the guards look at."""
        window: int | None = getattr(event, "window", None)
        clerk: str | None = getattr(event, "clerk", None)
        seq = position - self._base
        body = to_json(event, hall=self.hall, epoch=self.epoch, seq=seq)
        if not isinstance(event, TicketEvent):
            return (position, body, event.type, None, None, None, window, clerk)
        day = event.business_day.isoformat()
        return (position, body, event.type, event.ticket, event.number, day, window, clerk)

    async def read(self, after: int, limit: int) -> list[tuple[int, str]]:
        """At most ``limit`` events of this epoch behind seq ``after``: (seq, text to send)."""
        rows = await self._run(
            "SELECT position - ?1, body FROM events WHERE position > ?1 + ?2"
            " ORDER BY position LIMIT ?3",
            (self._base, max(0, after), limit),
        )
        return [(seq, body) for seq, body in rows]

    async def events_since(self, position: int) -> AsyncIterator[tuple[int, HallEvent]]:
        """All events behind ``position``, in order, a few at a time in memory.

        Raises ``JournalDamaged``; ``JournalError`` for an event of a newer version.
        """
        while rows := await self._run(
            "SELECT position, body FROM events WHERE position > ? ORDER BY position LIMIT ?",
            (position, _CHUNK),
        ):
            for found, body in rows:
                position += 1
                if found != position:
                    raise JournalDamaged(self.path, f"events {position} to {found - 1} are missing")
                yield position, self._event(position, body)

    def _event(self, position: int, body: str) -> HallEvent:
        try:
            return CloudEvent.model_validate_json(body).event()
        except UnknownEventType as unknown:
            raise JournalError(
                f"journal {self.path}: event {position} is {unknown}, which a newer version wrote"
            ) from unknown
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise JournalDamaged(self.path, f"event {position}: {problem}") from error

    # --- snapshots --------------------------------------------------------------------------

    async def save_snapshot(self, position: int, state: str) -> None:
        """Keep the state that all events up to ``position`` make; the last two are kept.

        Raises ``JournalFull``, ``JournalError``.
        """
        if not 0 < position <= self._position:
            raise ValueError(f"no event {position} in this journal")
        async with self._one_writer:
            await self._run(
                "INSERT OR REPLACE INTO snapshots (position, state, sha256) VALUES (?, ?, ?)",
                (position, state, snapshot_sum(position, state)),
            )

    async def load_snapshot(self, before: int | None = None) -> Snapshot | None:
        """The newest that is whole, of those before an event. A damaged one is said in the log and
        passed over."""
        try:
            positions = await self._run(
                "SELECT position FROM snapshots WHERE position < ?1 OR ?1 IS NULL"
                " ORDER BY position DESC",
                (before,),
            )
        except JournalDamaged as damage:
            self._note_damaged_snapshot(damage.what)
            return None
        for (position,) in positions:
            try:
                rows = list(
                    await self._run(
                        "SELECT state, sha256 FROM snapshots WHERE position = ?", (position,)
                    )
                )
            except JournalDamaged as damage:
                self._note_damaged_snapshot(damage.what)
                continue
            if not rows or snapshot_sum(position, rows[0][0]) != rows[0][1]:
                self._note_damaged_snapshot(f"snapshot at event {position}: its sum is wrong")
            elif position > self._position:
                self._note_damaged_snapshot(f"snapshot at event {position}: there is no such event")
            else:
                return Snapshot(position, rows[0][0])
        return None

    def _note_damaged_snapshot(self, what: str) -> None:
        self.counters["snapshots_damaged"] += 1
        log.error("journal %s: a snapshot is damaged, using an older one: %s", self.path, what)

    # --- numbers ----------------------------------------------------------------------------

    async def spent_numbers(
        self, since: BusinessDay | None, *, days: int
    ) -> AsyncIterator[tuple[BusinessDay, list[TicketNumber]]]:
        """The numbers that no append may spend again, day by day, newest first: of ``since`` and
        the days behind it (``None``: from the first on), and of at most so many ``days``. One day
        is in memory at once: a journal of years has millions."""
        oldest = "" if since is None else since.isoformat()
        before = _BEHIND_ALL_DAYS
        for _ in range(days):
            rows = list(
                await self._run(
                    "SELECT business_day, number FROM numbers WHERE business_day ="
                    " (SELECT max(business_day) FROM numbers WHERE business_day < ?)"
                    " AND business_day >= ?",
                    (before, oldest),
                )
            )
            if not rows:
                return
            before = rows[0][0]
            yield date.fromisoformat(before), [number for _, number in rows]

    # --- what could not be taken ------------------------------------------------------------

    async def keep_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep them beside the events; of all that ever came, the newest thousand stay.

        Raises ``JournalFull``, ``JournalError``: none was kept.
        """
        values = ", ".join(["(?, ?, ?, ?)"] * len(letters))
        fields = [
            field
            for each in letters
            for field in (each.received_at.isoformat(), each.topic, each.reason, each.payload)
        ]
        async with self._one_writer:
            await self._run(
                f"INSERT INTO dead_letters (received_at, topic, reason, payload) VALUES {values}",  # noqa: S608 - question marks only
                fields,
            )

    # --- the uplink's cursor ----------------------------------------------------------------

    async def save_acked(self, seq: int) -> None:
        """The centre keeps everything up to ``seq``: written now and then, and at ``close``.

        Raises ``ValueError`` beyond ``head``, ``JournalFull``, ``JournalError``; ``acked`` is
        moved all the same, and written later.
        """
        if seq > self.head:
            raise ValueError(f"seq {seq} is beyond the head {self.head}")
        self._acked = max(self._acked, seq + self._base)
        age = asyncio.get_running_loop().time() - self._acked_written_at
        if age >= ACKED_IS_WRITTEN_EVERY_SECONDS:
            async with self._one_writer:
                await self._write_acked()

    async def _write_acked(self) -> None:
        acked = self._acked
        if acked == self._acked_on_disk:
            return
        self._acked_written_at = asyncio.get_running_loop().time()
        await self._run("UPDATE journal SET acked = ?", (acked,))
        self._acked_on_disk = acked

    async def start_new_epoch(self) -> Epoch:
        """A new epoch, whose seq 1 is the first event that was not acked; returns its name.

        For a file that was restored from an old copy: the centre knows other events under the
        numbers that come next. What the centre keeps stays as history; everything since is
        renumbered, so that it reaches the centre as something new. Appends wait meanwhile.

        Raises ``JournalFull``, ``JournalError``: then the epoch is as before.
        """
        return await asyncio.shield(self._start_new_epoch())

    async def _start_new_epoch(self) -> Epoch:
        async with self._one_writer:
            epoch, base = self._new_epoch(), self._acked
            if self.pending is not None:
                self.pending = replace(self.pending, epoch=epoch)
                self._remember(self._life)
            await self._run("BEGIN IMMEDIATE")
            try:
                await self._run("UPDATE journal SET acked = ?", (base,))
                await self._run("INSERT INTO epochs (epoch, base) VALUES (?, ?)", (epoch, base))
                await self._run(_RENUMBER, (epoch, base, SEQUENCE_DIGITS))
                await self._run("COMMIT")
            except BaseException:
                await self._roll_back()
                raise
            log.warning("journal %s: new epoch %s after event %d", self.path, epoch, base)
            self.epoch, self._base, self._acked_on_disk = epoch, base, base
            return epoch

    async def _roll_back(self) -> None:
        if self._database.in_transaction:
            await self._run("ROLLBACK")

    # --- the database -----------------------------------------------------------------------

    async def check(self) -> None:
        """Whether the journal answers. Raises ``JournalError`` (for whoever feeds the watchdog)."""
        async with self._one_writer:
            await self._look_for_files()
            if self._append_was_left:
                await self._find_position()
            ((end,),) = await self._run("SELECT coalesce(max(position), 0) FROM events")
            if end < self._position:
                raise JournalDamaged(self.path, f"it ends at {end}, not at {self._position}")
            if end > self._position:
                raise self._written_by_another(f"it ends at event {end}, not at {self._position}")

    def _written_by_another(self, sign: str) -> JournalError:
        return JournalError(
            f"journal {self.path} was written to by another program ({sign}). End that; this "
            "controller must start again"
        )

    async def _look_for_files(self) -> None:
        """What is written to a file that has no name any more is gone with this process."""
        if self._closed:
            return
        try:
            self._files.look()
        except JournalMissing:
            if not self._files.are_shorter():
                raise
            # It may be whole all the same: somebody has run VACUUM.
            ((size,),) = await self._run(_BYTES)
            self._files.look(whole_with=size)

    async def close(self) -> None:
        """Write what is left to write and close. Safe to call twice."""
        async with self._one_writer:
            if self._closed:
                return
            try:
                await self._write_what_is_left()
            finally:
                await self._close()

    async def _write_what_is_left(self) -> None:
        try:
            await self._write_acked()
        except JournalError as error:
            log.warning("the uplink's cursor is not on disk, it will send again: %s", error)
        try:
            self._files.look()
            await self._renew_life()
        except JournalError as error:
            log.warning("a copy made since the start can't be told from it: %s", error)

    async def _close(self) -> None:
        self._closed = True
        try:
            await self._database.close()
        finally:
            self._file_lock.release()

    async def _run(self, sql: str, parameters: Sequence[Any] = ()) -> Iterable[Any]:
        if self._closed:
            raise JournalError(f"journal {self.path} is closed")
        try:
            return await self._database.execute_fetchall(sql, parameters)
        except sqlite3.Error as error:
            raise named(error, self.path) from error


async def _connect(path: Path) -> aiosqlite.Connection:
    database: aiosqlite.Connection | None = None
    try:
        database = await aiosqlite.connect(path, isolation_level=None, timeout=BUSY_SECONDS)
        for pragma in PRAGMAS:
            await database.execute_fetchall(pragma)
    except BaseException as error:
        if database is not None:
            await database.close()
        if isinstance(error, sqlite3.Error):
            raise named(error, path) from error
        raise
    return database


class _Files:
    """The journal's files as they were when it was opened: removed or cut short in use, they still
    take what is written, and nobody finds it again."""

    def __init__(self, path: Path, lock: FileLock) -> None:
        self._lock = lock
        self._journal = str(path)  # quicker than paths, and presses wait
        self._wal = f"{path}-wal"
        self._lock_file = str(lock.path)
        self._identity = identity(self._journal)
        self._wal_identity: Identity | None = None
        """Known once there is one."""
        self._bytes = 0

    @property
    def inode(self) -> int:
        return 0 if self._identity is None else self._identity[1]

    def are_shorter(self) -> bool:
        """The journal is there, and has fewer bytes than before."""
        try:
            return os.stat(self._journal).st_size < self._bytes
        except OSError:
            return False

    def look(self, whole_with: int = 0) -> None:
        """Raises ``JournalMissing``. Called at every append, so it asks for three names only.
        ``whole_with``: SQLite says that it has so many bytes."""
        what = self._missing(whole_with)
        if what is not None:
            self._lock.put_back()
            raise JournalMissing(
                f"{what} while it is in use: nothing more is written. Put it back as it was, or "
                "stop the controller"
            )

    def _missing(self, whole_with: int) -> str | None:
        try:
            status = os.stat(self._journal)
        except OSError:
            return f"journal {self._journal} was removed"
        if (status.st_dev, status.st_ino) != self._identity:
            return f"journal {self._journal} was replaced"
        if status.st_size < self._bytes and not 0 < whole_with <= status.st_size:
            return f"journal {self._journal} was cut short"
        self._bytes = status.st_size
        if self._wal_identity is None:
            self._wal_identity = identity(self._wal)
        elif identity(self._wal) != self._wal_identity:
            return f"{self._wal}, a part of the journal, was removed or replaced"
        if identity(self._lock_file) != self._lock.identity:
            return f"{self._lock_file} was removed or replaced"
        return None


def snapshot_sum(position: int, state: str) -> str:
    """What shows that a snapshot is whole."""
    return hashlib.sha256(f"{position}\n{state}".encode()).hexdigest()

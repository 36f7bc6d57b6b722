"""What can still be read of a damaged journal, as a new journal with a new epoch.

Events are looked for three times: along the table from its start, from its end, and, for what lies
between, on every page of the file and of its write-ahead log. Each carries its own number, so that
a page that is no longer part of any table still tells what it knows. The damaged file is only read.
"""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from pydantic import ValidationError

from contract.envelope import CloudEvent, renumber
from contract.events import NumbersLeftOut
from contract.names import BusinessDay, Epoch, HallId
from edge.journal.companion import NOT_LIVED_YET, FileLock, life_after_salvage
from edge.journal.database import Contents, introduce, sync_file, sync_folder, true_path
from edge.journal.errors import JournalError, NothingToSalvage
from edge.journal.journal import snapshot_sum
from edge.journal.migrations import migrate
from edge.journal.pages import rows_on_pages
from edge.queue.numbers import Spent, spent_by

UNKNOWN_TAIL = 50
"""So many numbers may have been issued behind the newest event that was found."""
LAST_ORDINAL = 99_999


@dataclass(frozen=True)
class LeftOut:
    """Nobody knows whether these numbers are on somebody's paper: they are never issued."""

    days: tuple[BusinessDay, ...]
    count: int
    """So many behind each that was found."""

    def __str__(self) -> str:
        days = " and ".join(map(str, self.days))
        return (
            f"On {days} the {self.count} numbers behind each that was found are left out, because "
            "they may be on somebody's paper: where too few remain, give the service more numbers. "
            f"What was issued after {self.days[-1]}, if anything, is not known"
        )


@dataclass(frozen=True)
class Salvage:
    """What came of it. ``str`` is for the person who asked."""

    source: Path
    target: Path
    events: int
    lost: tuple[tuple[int, int], ...]
    """Positions in the damaged file, first and last of each gap; what came after the newest event
    that was found is not known."""
    to_send: int
    """Events that the centre does not keep yet, as far as is known."""
    continues: bool
    """Whether the hall's state of before can be had from it; if not, the line is empty."""
    left_out: LeftOut | None
    """Numbers that events which are lost may have spent; ``None`` where all that are spent are
    known."""

    def __str__(self) -> str:
        lost = ", ".join(f"{first} to {last}" for first, last in self.lost) or "none"
        line = "as it was" if self.continues else "EMPTY: whoever waits must take a new number"
        return (
            f"{self.events} events of {self.source} are now in {self.target}; lost: {lost}; "
            f"{self.to_send} will be sent to the centre; the line is {line}. "
            f"{self.left_out or 'Every number that was issued is known'}. "
            f"To go on: stop the controller, move {self.source} away (keep it) together with "
            f"{self.source.name}-wal and {self.source.name}-shm, "
            f"and give the new file its name"
        )


def salvage(
    source: Path,
    target: Path,
    *,
    new_epoch: Callable[[], Epoch],
    acked: int | None = None,
) -> Salvage:
    """Copy what can be read of ``source`` into the new journal ``target``.

    ``acked`` is the seq up to which the centre keeps the damaged journal's events, for a file that
    can't tell any more: those are not sent again.

    Raises ``JournalLocked`` while a controller has it open, ``JournalError`` when there is nothing
    to be had, ``target`` exists, or ``acked`` has to be given.
    """
    if not source.is_file():
        raise JournalError(f"there is no file {source}")
    source = true_path(source)
    if target.exists():
        raise JournalError(f"{target} exists already: name a file that does not")
    partial = target.with_name(target.name + ".partial")
    staging = target.with_name(target.name + ".staging")
    lock = FileLock(source)
    try:
        for leftover in (partial, staging):
            leftover.unlink(missing_ok=True)
        with closing(sqlite3.connect(partial, isolation_level=None)) as new:
            new.execute("PRAGMA journal_mode = MEMORY")
            new.execute("PRAGMA synchronous = OFF")  # synced as a whole at the end
            migrate(new, partial)
            new.execute("ATTACH ? AS staging", (str(staging),))
            new.execute("PRAGMA staging.journal_mode = OFF")
            new.execute("CREATE TABLE staging.found (position INTEGER PRIMARY KEY, body TEXT)")
            new.execute("CREATE TABLE staging.spent (day TEXT, number TEXT, UNIQUE (day, number))")
            result = _Salvage(source, target, new, new_epoch()).run(acked)
        sync_file(partial)
        partial.rename(target)
        sync_folder(target.parent)
    except sqlite3.Error as error:
        raise JournalError(f"salvage of {source} into {target}: {error}") from error
    finally:
        for leftover in (partial, staging):
            leftover.unlink(missing_ok=True)
        lock.release()
    return result


class _Salvage:
    """One salvage, step by step. ``new`` has the staging table ``found`` attached."""

    def __init__(self, source: Path, target: Path, new: sqlite3.Connection, epoch: Epoch) -> None:
        self.source = source
        self.target = target
        self.new = new
        self.epoch = epoch
        self.numbers_are_whole = False
        """Nothing of the guard's table of numbers is lost."""

    def run(self, acked: int | None) -> Salvage:
        snapshots = self._gather()
        contents = self._contents(acked)
        gaps = self._gaps()
        with self.new:
            self.new.execute("BEGIN")
            base = self._copy(contents)
            continues = self._keep_snapshot(snapshots, gaps)
            if not continues:
                self._empty_guards("at_window", "clerk_at")
            left_out = self._spend_numbers(gaps)
            life = life_after_salvage(self._life(), contents.position)
            introduce(self.new, contents.hall, self.epoch, base, life)
        events = self._one("SELECT count(*) FROM events")
        return Salvage(
            self.source, self.target, events, tuple(gaps), events - base, continues, left_out
        )

    # --- what is there ----------------------------------------------------------------------

    def _gather(self) -> list[tuple[int, str]]:
        """Fill ``found``; returns the snapshots that are whole, the newest first."""
        snapshots: list[tuple[int, str]] = []
        whole = False
        try:
            with closing(_read_only(self.source)) as old:
                whole = self._along_the_table(old, "ASC") and self._nothing_was_skipped(old)
                if not whole:
                    self._along_the_table(old, "DESC")
                self._gather_numbers(old)
                snapshots = _whole_snapshots(old)
        except sqlite3.Error:
            whole = False  # its first page is damaged: SQLite can't open it at all
        if not whole:
            for position, body in rows_on_pages(self.source):
                self._found(position, body)
        return snapshots

    def _along_the_table(self, old: sqlite3.Connection, order: str) -> bool:
        """From one end until damage is met; returns whether the other end was reached."""
        try:
            for position, body in old.execute(
                f"SELECT position, body FROM events ORDER BY position {order}"  # noqa: S608
            ):
                if not self._found(position, body) and order == "DESC":
                    return False  # from here on it is known already
        except (sqlite3.Error, UnicodeDecodeError):
            return False
        return True

    def _nothing_was_skipped(self, old: sqlite3.Connection) -> bool:
        count, last = self.new.execute("SELECT count(*), max(position) FROM found").fetchone()
        return bool(count == last and old.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")

    def _gather_numbers(self, old: sqlite3.Connection) -> None:
        """What the guard knows as spent, from both ends of its table: more than the events, where
        some are lost."""
        for rows in (_NUMBERS_UP, _NUMBERS_DOWN):
            try:
                for day, number in old.execute(rows):
                    if _is_number(day, number):
                        self.new.execute(_STAGE_NUMBER, (day, number))
            except (sqlite3.Error, UnicodeDecodeError):
                continue
            self.numbers_are_whole = True
            return

    def _found(self, position: int, body: object) -> bool:
        """Keep it, if it is an event of a hall; returns whether it is new."""
        try:
            CloudEvent.model_validate_json(body)  # type: ignore[arg-type]
        except ValidationError:
            return True
        changed = self.new.execute(
            "INSERT OR IGNORE INTO found (position, body) VALUES (?, ?)", (position, body)
        )
        return changed.rowcount == 1

    def _contents(self, acked: int | None) -> Contents:
        """What the damaged file says of itself, or what its events say for it."""
        newest = self.new.execute(
            "SELECT position, body FROM found ORDER BY position DESC LIMIT 1"
        ).fetchone()
        if newest is None:
            raise NothingToSalvage(self.source)
        position, body = newest
        event = CloudEvent.model_validate_json(body)
        hall: HallId = event.hall
        base = position - event.seq
        if acked is None:
            try:
                with closing(_read_only(self.source)) as old:
                    known = old.execute("SELECT acked FROM journal").fetchone()
            except sqlite3.Error:
                known = None
            if known is None:
                raise JournalError(
                    f"{self.source} can't say what the centre keeps of it. Give it by --acked SEQ: "
                    f"the seq of epoch {event.epoch} in the broker's retained message "
                    f"halls/{hall}/v1/ack, or 0 where this hall has no centre (where it has one, "
                    "0 sends all again, and counts it twice there)"
                )
            acked = known[0] - base
        elif not 0 <= acked <= event.seq:
            raise JournalError(
                f"--acked {acked}: the newest event that can be read of {self.source} is seq "
                f"{event.seq}. Give 0 to {event.seq}; where the centre has more, {event.seq}"
            )
        return Contents(hall, event.epoch, base, base + acked, position)

    def _life(self) -> str:
        """The damaged file's; empty where it can't say."""
        try:
            with closing(_read_only(self.source)) as old:
                (life,) = old.execute("SELECT life FROM journal").fetchone()
        except (sqlite3.Error, TypeError):  # of an earlier version, or of no hall
            return NOT_LIVED_YET
        return str(life)

    def _gaps(self) -> list[tuple[int, int]]:
        rows = self.new.execute(
            "SELECT before + 1, position - 1 FROM (SELECT position, "
            "lag(position, 1, 0) OVER (ORDER BY position) AS before FROM found)"
            " WHERE position > before + 1"
        )
        return [(first, last) for first, last in rows]

    # --- the new journal --------------------------------------------------------------------

    def _copy(self, contents: Contents) -> int:
        """All that was found, without gaps; returns the new epoch's base.

        OR REPLACE makes the guards lenient, and behind a gap they begin empty: there nobody knows
        who is at which window, and a guard must not stand in the way of what the hall will do.
        """
        base = self._one("SELECT count(*) FROM found WHERE position <= ?", contents.acked)
        before = 0
        for place, (position, body) in enumerate(
            self.new.execute("SELECT position, body FROM found ORDER BY position"), start=1
        ):
            if position != before + 1:
                self._empty_guards("at_window", "clerk_at")
            before = position
            text = body if place <= base else renumber(body, epoch=self.epoch, seq=place - base)
            self.new.execute(_COPY, (place, text))
        return base

    def _empty_guards(self, *tables: str) -> None:
        for table in tables:
            self.new.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own

    def _keep_snapshot(self, snapshots: list[tuple[int, str]], gaps: list[tuple[int, int]]) -> bool:
        """A snapshot that the events behind it continue; else the hall begins anew."""
        last_lost = gaps[-1][1] if gaps else 0
        for position, state in snapshots:
            place = self._one("SELECT count(*) FROM found WHERE position <= ?", position)
            if position >= last_lost and place > 0:
                self._add_snapshot(place, state)
                return True
        if gaps:
            self._add_snapshot(self._one("SELECT count(*) FROM found"), "")
        return not gaps

    # --- numbers ----------------------------------------------------------------------------

    def _spend_numbers(self, gaps: list[tuple[int, int]]) -> LeftOut | None:
        """No number comes twice on a day, whatever is lost: beside those of the events that were
        found, those that the old guard knew are spent, and those that lost events may have."""
        found_all = self.numbers_are_whole and self._guard_knows_what_was_found()
        self.new.execute("INSERT OR IGNORE INTO numbers SELECT day, number FROM staging.spent")
        self._spend_what_was_left_out()
        newest = self.new.execute(_NEWEST_DAY).fetchone()
        if found_all or newest is None:
            return None
        today = date.fromisoformat(newest[0])
        since = self._one(_BEFORE_THAT_DAY, newest[0])
        lost = sum(last - first + 1 for first, last in gaps if last > since)
        # An issue is two events. The next day may have begun in what is lost of the end.
        left_out = LeftOut((today, today + timedelta(days=1)), (lost + 1) // 2 + UNKNOWN_TAIL)
        for day in left_out.days:
            self._leave_out(day, left_out.count)
        return left_out

    def _spend_what_was_left_out(self) -> None:
        """Numbers that an old copy left out are in its events only."""
        for (body,) in self.new.execute(_LEFT_OUT, (NumbersLeftOut.type,)).fetchall():
            try:
                event = CloudEvent.model_validate_json(body).event()
            except ValidationError:
                continue
            assert isinstance(event, NumbersLeftOut)
            day = event.business_day.isoformat()
            self.new.executemany(
                "INSERT OR IGNORE INTO numbers (business_day, number) VALUES (?, ?)",
                (
                    (day, f"{run.prefix}{number}")
                    for run in event.runs
                    for number in range(run.first, run.last + 1)
                ),
            )

    def _guard_knows_what_was_found(self) -> bool:
        return not self._one("SELECT EXISTS (SELECT * FROM numbers EXCEPT SELECT * FROM spent)")

    def _leave_out(self, day: BusinessDay, count: int) -> None:
        """Behind each run of the day's numbers, and where the runs of other days began. How many
        digits are printed is not known here: a restored state knows ``A4`` and ``A004`` as one."""
        runs = [(prefix, run) for prefix, runs in self._spent(day).items() for run in runs]
        firsts = [(prefix, last + 1) for prefix, (_, last) in runs] + self._where_runs_began(day)
        for prefix, first in firsts:
            for ordinal in range(first, min(first + count, LAST_ORDINAL + 1)):
                self.new.execute(_SPEND, (day.isoformat(), f"{prefix}{ordinal}"))

    def _where_runs_began(self, day: BusinessDay) -> list[tuple[str, int]]:
        """On ``day``, and of each prefix on the last day before on which it was issued."""
        before = self.new.execute(_LAST_DAYS, (day.isoformat(),)).fetchall()
        days = {day, *(date.fromisoformat(text) for _, text in before)}
        spent_on = {each: self._spent(each) for each in days}
        return [
            (prefix, first)
            for prefix, text in [*before, *((prefix, day.isoformat()) for prefix in spent_on[day])]
            for first, _ in spent_on[date.fromisoformat(text)][prefix]
        ]

    def _spent(self, day: BusinessDay) -> Spent:
        rows = self.new.execute(
            "SELECT number FROM numbers WHERE business_day = ?", (day.isoformat(),)
        )
        return spent_by(number for (number,) in rows)

    def _add_snapshot(self, place: int, state: str) -> None:
        self.new.execute(
            "INSERT INTO snapshots (position, state, sha256) VALUES (?, ?, ?)",
            (place, state, snapshot_sum(place, state)),
        )

    def _one(self, sql: str, *parameters: int | str) -> int:
        value: int = self.new.execute(sql, parameters).fetchone()[0]
        return value


_COPY = """
INSERT OR REPLACE INTO incoming
  (position, body, type, ticket, number, business_day, window, clerk)
VALUES (?1, ?2, ?2 ->> '$.type', ?2 ->> '$.data.ticket', ?2 ->> '$.data.number',
  ?2 ->> '$.data.business_day', ?2 ->> '$.data.window', ?2 ->> '$.data.clerk')
"""


_NUMBERS_UP = "SELECT business_day, number FROM numbers ORDER BY business_day, number"
_NUMBERS_DOWN = "SELECT business_day, number FROM numbers ORDER BY business_day DESC, number DESC"
_STAGE_NUMBER = "INSERT OR IGNORE INTO spent (day, number) VALUES (?, ?)"
_SPEND = "INSERT OR IGNORE INTO numbers (business_day, number) VALUES (?, ?)"
_LEFT_OUT = "SELECT body FROM found WHERE body ->> '$.type' = ?"
_NEWEST_DAY = """
SELECT body ->> '$.data.business_day' AS day FROM found WHERE day IS NOT NULL
ORDER BY position DESC LIMIT 1
"""
_LAST_DAYS = """
SELECT rtrim(number, '0123456789') AS prefix, max(business_day) FROM numbers
WHERE business_day < ? GROUP BY prefix
"""
_BEFORE_THAT_DAY = """
SELECT coalesce(max(position), 0) FROM found WHERE body ->> '$.data.business_day' <> ?
"""


def _is_number(day: object, number: object) -> bool:
    try:
        date.fromisoformat(str(day))
    except ValueError:
        return False
    return re.fullmatch(r"[A-Z]{1,2}[0-9]{1,5}", str(number)) is not None


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def _whole_snapshots(old: sqlite3.Connection) -> list[tuple[int, str]]:
    """The newest first."""
    found = []
    try:
        for position, state, total in old.execute(
            "SELECT position, state, sha256 FROM snapshots ORDER BY position DESC"
        ):
            if snapshot_sum(position, state) == total:
                found.append((position, state))
    except (sqlite3.Error, UnicodeDecodeError):
        pass
    return found

"""The store in one SQLite file: write-ahead log, every commit on disk when it returns."""

import asyncio
import json
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import astuple, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import aiosqlite

from cloud_sync.projections import (
    TicketRow,
    day_after,
    device_after,
    fold_ticket,
    window_after,
)
from cloud_sync.reading import (
    MAX_TICKET_EVENT_LETTERS,
    DeadLetter,
    Received,
    parse_body,
)
from cloud_sync.store import Committed, HallFacts, MayBegin, Position, always
from cloud_sync.store.errors import SchemaTooNew, StoreError, explained
from cloud_sync.store.facts import facts_of
from cloud_sync.store.lock import FileLock
from contract import topics
from contract.events import HallEvent, TicketEvent

_T = TypeVar("_T")

MAX_DEAD_LETTERS = 1_000
"""Of one hall."""
MAX_CONFLICTS = 10_000
"""Likewise: events that are kept nowhere else."""
MAX_EVENTS_OF_A_TICKET = 64
"""So many of one ticket have a meaning. Ours have ten or so; a hall that sends them without end
must not make every commit slower for all."""
TICKETS_FOLDED_AT_ONCE = 16
"""Before others have their turn at the event loop."""
COMPARED_AS_JSON = 4096
"""Letters of an event, of which ours have less than half. What says the same in other letters is
the same event only up to this."""
REBUILD_CHUNK = 2000
_BEGINNING_BYTES = 1024
"""Of a payload, for people."""
_APPLICATION_ID = 0x4E536331
"""As in the first schema."""
_VARIABLES = 500
"""Placeholders in one statement; SQLite's own limit is higher in every version."""


_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "busy_timeout = 5000",
    "cache_size = -65536",  # KiB
)


@dataclass(slots=True)
class _Stream:
    """A stream's row while a transaction works on it."""

    id: int
    hall_id: int
    hall: str
    epoch: str
    contiguous: int
    highest: int
    events: int


@dataclass(frozen=True, slots=True)
class _Placed:
    """An event and where it stands."""

    hall_id: int
    stream: int
    seq: int
    event: HallEvent


class SqliteStore:
    """Fills ``cloud_sync.store.Store``. One connection writes, another reads what is committed."""

    def __init__(
        self,
        path: Path,
        lock: FileLock,
        writer: aiosqlite.Connection,
        reader: aiosqlite.Connection,
    ) -> None:
        self._path = path
        self._lock = lock
        self._db = writer
        self._reader = reader
        self._writing = asyncio.Lock()
        self._reading = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open or make the file, and bring its schema up to this version.

        Raises ``StoreError``; ``StoreLocked`` where another process has it open, ``SchemaTooNew``.
        """
        async with AsyncExitStack() as opened:
            lock = FileLock(path)
            opened.callback(lock.release)
            try:
                # Without threads of its own, which would outlive a file that can't be opened.
                await asyncio.to_thread(_prepare, path)
                writer = await aiosqlite.connect(path, isolation_level=None)
                opened.push_async_callback(writer.close)
                for pragma in _PRAGMAS:
                    await writer.execute(f"PRAGMA {pragma}")
                reader = await aiosqlite.connect(path, isolation_level=None)
                opened.push_async_callback(reader.close)
                await reader.execute("PRAGMA query_only = ON")
            except sqlite3.Error as error:
                raise StoreError(explained(error, path)) from error
            opened.pop_all()
        return cls(path, lock, writer, reader)

    async def close(self) -> None:
        try:
            await self._reader.close()
            await self._db.close()
        finally:
            self._lock.release()

    def explain(self, error: sqlite3.Error) -> str:
        return explained(error, self._path)

    # --- writing ----------------------------------------------------------------------------

    async def commit(
        self,
        events: Sequence[Received],
        dead_letters: Sequence[DeadLetter],
        received_at: str,
        may_begin: MayBegin = always,
    ) -> Committed:
        async with self._transaction():
            if dead_letters:
                await self._keep_dead_letters(dead_letters, received_at, conflict=False)
            streams = await self._streams_of(events, may_begin)
            refused = [each for each in events if (each.hall, each.epoch) not in streams]
            if refused:
                events = [each for each in events if (each.hall, each.epoch) in streams]
            inserted, fresh, conflicts = await self._insert(events, streams)
            if conflicts:
                letters = [_conflict(each) for each in conflicts]
                await self._keep_dead_letters(letters, received_at, conflict=True)
            await self._project(fresh)
            for stream in streams.values():
                await self._advance(stream)
            await self._db.executemany(
                "UPDATE halls SET in_service = 1 WHERE id = ? AND in_service = 0",
                [(stream.hall_id,) for stream in streams.values()],
            )
        return Committed(
            positions=tuple(
                Position(each.hall, each.epoch, each.contiguous, each.highest)
                for each in streams.values()
            ),
            inserted=inserted,
            duplicates=len(events) - inserted - len(conflicts),
            conflicts=tuple(conflicts),
            refused=tuple(refused),
        )

    async def retire(self, hall: str) -> None:
        async with self._transaction():
            await self._db.execute("UPDATE halls SET in_service = 0 WHERE name = ?", (hall,))

    async def _keep_dead_letters(
        self, dead_letters: Sequence[DeadLetter], received_at: str, *, conflict: bool
    ) -> None:
        """The newest of each hall stay, so many conflicts and so many others; a conflict once,
        however often it is sent."""
        halls = [topics.hall_of(each.topic) or "" for each in dead_letters]
        await self._db.executemany(
            f"INSERT {'OR IGNORE' if conflict else ''} INTO dead_letters"  # noqa: S608
            " (received_at, topic, reason, payload, hall, conflict) VALUES (?, ?, ?, ?, ?, ?)",
            [
                (received_at, each.topic, each.reason, each.payload, hall, conflict)
                for each, hall in zip(dead_letters, halls, strict=True)
            ],
        )
        bound = MAX_CONFLICTS if conflict else MAX_DEAD_LETTERS
        await self._db.executemany(
            "DELETE FROM dead_letters WHERE hall = ?1 AND conflict = ?2 AND id <="
            " (SELECT id FROM dead_letters WHERE hall = ?1 AND conflict = ?2"
            " ORDER BY id DESC LIMIT 1 OFFSET ?3)",
            [(hall, conflict, bound) for hall in sorted(set(halls))],
        )

    async def _streams_of(
        self, events: Sequence[Received], may_begin: MayBegin
    ) -> dict[tuple[str, str], _Stream]:
        """The streams of these events, but for those that may not begin; in the order in which
        they were first heard of."""
        epochs: dict[str, dict[str, None]] = defaultdict(dict)  # hall → its epochs
        for event in events:
            epochs[event.hall][event.epoch] = None
        streams: dict[tuple[str, str], _Stream] = {}
        for hall, of_hall in epochs.items():
            known = await self._known_streams(hall, list(of_hall))
            for epoch in of_hall:
                if epoch in known:
                    streams[hall, epoch] = known[epoch]
                elif may_begin(hall, epoch):
                    streams[hall, epoch] = await self._new_stream(hall, epoch)
        return streams

    async def _known_streams(self, hall: str, epochs: Sequence[str]) -> dict[str, _Stream]:
        """Those of these that there are, by epoch."""
        streams: dict[str, _Stream] = {}
        for part in _parts(epochs):
            rows = await self._all(
                "SELECT streams.id, hall, name, epoch, contiguous, highest, events"  # noqa: S608
                " FROM halls CROSS JOIN streams ON hall = halls.id"
                f" WHERE name = ? AND epoch IN ({_marks(part)})",
                (hall, *part),
            )
            streams.update((row[3], _Stream(*row)) for row in rows)
        return streams

    async def _new_stream(self, hall: str, epoch: str) -> _Stream:
        await self._db.execute("INSERT OR IGNORE INTO halls (name) VALUES (?)", (hall,))
        ((hall_id,),) = await self._all("SELECT id FROM halls WHERE name = ?", (hall,))
        await self._db.execute("INSERT INTO streams (hall, epoch) VALUES (?, ?)", (hall_id, epoch))
        return (await self._known_streams(hall, [epoch]))[epoch]

    async def _insert(
        self, events: Sequence[Received], streams: dict[tuple[str, str], _Stream]
    ) -> tuple[int, list[_Placed], list[Received]]:
        """Insert what is not there yet.

        Returns how many were, those of them that mean something, and those whose place has another
        event.
        """
        inserted = 0
        fresh: list[_Placed] = []
        conflicts: list[Received] = []
        by_stream: dict[tuple[str, str], list[Received]] = defaultdict(list)
        for event in events:
            by_stream[event.hall, event.epoch].append(event)
        for key, received in by_stream.items():
            stream = streams[key]
            bodies = await self._bodies(stream, {event.seq for event in received})
            new: list[Received] = []
            for event in received:
                known = bodies.get(event.seq)
                if known is None:
                    bodies[event.seq] = _Body.of(event.body)
                    new.append(event)
                elif not await self._is_same(stream, event, known):
                    conflicts.append(event)
            await self._db.executemany(
                "INSERT INTO events (stream, seq, type, subject, fault, body)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [(stream.id, e.seq, e.type, e.subject, e.fault, e.body) for e in new],
            )
            inserted += len(new)
            stream.events += len(new)
            stream.highest = max(stream.highest, *bodies)
            fresh += [
                _Placed(stream.hall_id, stream.id, each.seq, each.event)
                for each in new
                if each.event is not None
            ]
        return inserted, fresh, conflicts

    async def _bodies(self, stream: _Stream, seqs: Collection[int]) -> dict[int, "_Body"]:
        """Those of these seqs that are there."""
        bodies: dict[int, _Body] = {}
        for part in _parts([seq for seq in seqs if seq <= stream.highest]):
            rows = await self._all(
                "SELECT seq, length(body), CASE WHEN length(body) <= ? THEN body END"  # noqa: S608
                f" FROM events WHERE stream = ? AND seq IN ({_marks(part)})",
                (COMPARED_AS_JSON, stream.id, *part),
            )
            bodies.update((seq, _Body(length, text)) for seq, length, text in rows)
        return bodies

    async def _is_same(self, stream: _Stream, event: Received, known: "_Body") -> bool:
        """Whether it is the event that is kept in its place. What is large is told by its letters
        alone, and in the database's thread: nobody's events are, and others wait."""
        if known.text is not None:
            return _same_json(known.text, event.body)
        if known.length != len(event.body):
            return False
        found = await self._all(
            "SELECT 1 FROM events WHERE stream = ? AND seq = ? AND body = ?",
            (stream.id, event.seq, event.body),
        )
        return bool(found)

    async def _advance(self, stream: _Stream) -> None:
        """Move ``contiguous`` over everything that is there without a gap."""
        ((contiguous,),) = await self._all(_END_OF_THE_ROW, (stream.id, stream.contiguous))
        stream.contiguous = contiguous
        await self._db.execute(
            "UPDATE streams SET contiguous = ?, highest = ?, events = ? WHERE id = ?",
            (stream.contiguous, stream.highest, stream.events, stream.id),
        )

    # --- deriving ---------------------------------------------------------------------------

    async def _project(self, placed: Sequence[_Placed]) -> None:
        """Bring the derived tables up to date with events that have just been inserted."""
        await self._project_tickets(placed)
        windows, devices, days = [], [], []
        for each in placed:
            order = (each.stream, each.seq)
            if (window := window_after(each.event)) is not None:
                windows.append((each.hall_id, *astuple(window), *order))
            elif (device := device_after(each.event)) is not None:
                devices.append((each.hall_id, *astuple(device), *order))
            elif (day := day_after(each.event)) is not None:
                days.append((each.hall_id, *astuple(day), *order))
        await self._db.executemany(_UPSERT_WINDOW, windows)
        await self._db.executemany(_UPSERT_DEVICE, devices)
        await self._db.executemany(_UPSERT_DAY, days)

    async def _project_tickets(self, placed: Sequence[_Placed]) -> None:
        touched: dict[int, dict[str, None]] = defaultdict(dict)  # hall → its tickets
        have: dict[tuple[int, int], HallEvent] = {}
        for each in placed:
            if isinstance(each.event, TicketEvent):
                touched[each.hall_id][each.event.ticket] = None
                have[each.stream, each.seq] = each.event
        rows: list[tuple[Any, ...]] = []
        for hall_id, tickets in touched.items():
            for part in _parts(list(tickets), TICKETS_FOLDED_AT_ONCE):
                for ticket in await self._fold(hall_id, part, have):
                    rows.append((hall_id, *astuple(ticket)))  # noqa: PERF401
        await self._db.executemany(_REPLACE_TICKET, rows)

    async def _fold(
        self, hall_id: int, tickets: Sequence[str], have: dict[tuple[int, int], HallEvent]
    ) -> list[TicketRow]:
        """These tickets from their events; ``have`` saves reading what was just read."""
        rows = await self._all(
            _events_of_tickets(len(tickets)),
            (
                *(f"ticket/{ticket}" for ticket in tickets),
                *(hall_id, MAX_EVENTS_OF_A_TICKET, MAX_EVENTS_OF_A_TICKET),
                *(hall_id, MAX_EVENTS_OF_A_TICKET, MAX_EVENTS_OF_A_TICKET - 1),
            ),
        )
        seen: Counter[str] = Counter()
        events: dict[str, list[TicketEvent]] = defaultdict(list)
        for subject, stream, seq, kind, fault, body in rows:
            seen[subject] += 1
            if fault is not None or seen[subject] > MAX_EVENTS_OF_A_TICKET:
                continue
            event = have.get((stream, seq)) or parse_body(kind, body or "")
            if isinstance(event, TicketEvent):
                events[event.ticket].append(event)
        wanted = set(tickets)
        folded = (fold_ticket(of_one) for ticket, of_one in events.items() if ticket in wanted)
        return [row for row in folded if row is not None]

    async def rebuild(self) -> int:
        async with self._transaction():
            for table in ("tickets", "windows", "devices", "days"):
                await self._db.execute(f"DELETE FROM {table}")  # noqa: S608
            hall_of = dict(await self._all("SELECT id, hall FROM streams"))
            last, count = (0, 0), 0
            while True:
                rows = await self._all(
                    "SELECT stream, seq, type, body FROM events"
                    " WHERE (stream, seq) > (?, ?) AND fault IS NULL ORDER BY stream, seq LIMIT ?",
                    (*last, REBUILD_CHUNK),
                )
                if not rows:
                    return count
                placed = []
                for stream, seq, kind, body in rows:
                    event = parse_body(kind, body)
                    if event is not None:
                        placed.append(_Placed(hall_of[stream], stream, seq, event))
                await self._project(placed)
                last, count = (rows[-1][0], rows[-1][1]), count + len(rows)

    # --- reading ----------------------------------------------------------------------------

    async def positions(self) -> tuple[Position, ...]:
        async with self._snapshot():
            rows = await self._see(
                "SELECT name, epoch, contiguous, highest FROM streams JOIN halls ON halls.id = hall"
                " WHERE in_service AND streams.id IN (SELECT max(id) FROM streams GROUP BY hall)"
                " ORDER BY name"
            )
        return tuple(Position(*row) for row in rows)

    async def position(self, hall: str, epoch: str) -> Position:
        async with self._snapshot():
            rows = await self._see(
                "SELECT name, epoch, contiguous, highest FROM halls"
                " CROSS JOIN streams ON hall = halls.id WHERE name = ? AND epoch = ?",
                (hall, epoch),
            )
        return Position(*rows[0]) if rows else Position(hall, epoch, 0, 0)

    async def retired(self) -> tuple[str, ...]:
        async with self._snapshot():
            rows = await self._see("SELECT name FROM halls WHERE NOT in_service ORDER BY name")
        return tuple(name for (name,) in rows)

    async def totals(self) -> tuple[int, int]:
        async with self._snapshot():
            ((events, dead_letters),) = await self._see(
                "SELECT (SELECT coalesce(sum(events), 0) FROM streams),"
                " (SELECT count(*) FROM dead_letters)"
            )
        return events, dead_letters

    async def check(self) -> None:
        async with self._writing:
            await self._all("SELECT max(id) FROM streams")
        async with self._snapshot():
            await self._see("SELECT max(id) FROM streams")

    async def facts(self, hall: str) -> HallFacts:
        async with self._snapshot():
            return await facts_of(self._see, hall)

    # --- plumbing ---------------------------------------------------------------------------

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        async with self._writing:
            try:
                await self._db.execute("BEGIN IMMEDIATE")
                yield
                await self._db.execute("COMMIT")
            except BaseException:
                await self._db.rollback()
                raise

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[None]:
        """All reads within see one state of the database."""
        async with self._reading:
            try:
                await self._reader.execute("BEGIN")
                yield
            finally:
                await self._reader.rollback()

    async def _all(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Within a transaction."""
        return list(await self._db.execute_fetchall(sql, values))

    async def _see(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Within a snapshot."""
        return list(await self._reader.execute_fetchall(sql, values))


def newest_dead_letters(
    path: Path, count: int, hall: str | None
) -> list[tuple[str, str, str, bytes]]:
    """The last ``count`` of a hall, or of all, oldest first: (time received, topic, reason,
    beginning of the payload).

    Read-only; may run while the service works. Raises ``StoreError`` and ``sqlite3.Error``.
    """
    if not path.is_file():
        raise StoreError(f"there is no file {path}")
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        _check_ours(connection, path)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version < len(_migrations()):
            raise StoreError(
                f"store {path} was written by an earlier version: start the service of this one, "
                "it brings the file up to date"
            )
        rows = connection.execute(
            "SELECT received_at, topic, reason, substr(payload, 1, ?3) FROM dead_letters"
            " WHERE ?1 IS NULL OR hall = ?1 ORDER BY id DESC LIMIT ?2",
            (hall, count, _BEGINNING_BYTES),
        ).fetchall()
    return list(reversed(rows))


def _prepare(path: Path) -> None:
    """Make the file where there is none, and bring its schema up to this version."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        _check_ours(connection, path)
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        _migrate(connection, path)
    finally:
        connection.close()


def _check_ours(connection: sqlite3.Connection, path: Path) -> None:
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and application != _APPLICATION_ID:
        raise StoreError(
            f"store {path} is a database of something else, and left as it is. Name another file: "
            "key path in [store] of the configuration"
        )


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    scripts = _migrations()
    if version > len(scripts):
        raise SchemaTooNew(
            f"store {path} has schema {version}, this version knows up to {len(scripts)}: run the "
            "version that wrote it, or a later one"
        )
    for number, script in enumerate(scripts[version:], start=version + 1):
        # executescript commits what is open, so the transaction is part of the script.
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;"
        )


class _Body(NamedTuple):
    """An event's text; only its length where it is large and kept already."""

    length: int
    text: str | None

    @classmethod
    def of(cls, text: str) -> "_Body":
        return cls(len(text), text)


def _same_json(one: str, other: str) -> bool:
    """Whether both say the same; letter by letter, as a rule, and always where one is large."""
    if one == other or max(len(one), len(other)) > COMPARED_AS_JSON:
        return one == other
    try:
        return bool(json.loads(one) == json.loads(other))
    except (ValueError, RecursionError):
        return False


def _conflict(event: Received) -> DeadLetter:
    """All of it: it is acknowledged with its place, so nobody else may have it any more."""
    reason = f"another event is kept as {event.epoch}.{event.seq}"
    return DeadLetter(topics.events(event.hall), event.body.encode(), reason)


def _parts(values: Sequence[_T], at_once: int = _VARIABLES) -> Iterator[Sequence[_T]]:
    """As many at a time as one statement takes, or fewer."""
    for start in range(0, len(values), at_once):
        yield values[start : start + at_once]


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def _events_of_tickets(count: int) -> str:
    """What a hall sent about so many tickets, in its order: of each the first ``max`` events, and
    perhaps some more; without the text of what is too large for one (an earlier version kept it).

    Values: the subjects; hall, max, max; hall, max, max - 1. It reads no more than that, whatever
    else is kept of these tickets and however many epochs the hall has had: ``part`` hops from one
    stream in which a ticket is to the next, and counts what came ``before``.
    """
    return f"""
        WITH RECURSIVE wanted (subject) AS (VALUES {", ".join(["(?)"] * count)}),
        part (subject, stream, before) AS (
          SELECT subject, 0, 0 FROM wanted
          UNION ALL
          SELECT
            subject,
            (SELECT min(e.stream) FROM events AS e INDEXED BY events_of_subject
              WHERE e.subject = part.subject AND e.stream > part.stream),
            before + (SELECT count(*) FROM (
              SELECT 1 FROM streams CROSS JOIN events AS e INDEXED BY events_of_subject
              WHERE streams.id = part.stream AND hall = ?
              AND e.subject = part.subject AND e.stream = part.stream LIMIT ?))
          FROM part WHERE stream IS NOT NULL AND before < ?
        )
        SELECT each.subject, each.stream, each.seq, each.type, each.fault,
          CASE WHEN length(each.body) <= {MAX_TICKET_EVENT_LETTERS} THEN each.body END
        FROM part
        CROSS JOIN streams ON streams.id = part.stream AND hall = ?
        CROSS JOIN events AS place INDEXED BY events_of_subject
          ON place.subject = part.subject AND place.stream = part.stream AND before < ?
          AND place.seq <= coalesce(
            (SELECT e.seq FROM events AS e INDEXED BY events_of_subject
              WHERE e.subject = part.subject AND e.stream = part.stream
              ORDER BY e.seq LIMIT 1 OFFSET ?),
            9223372036854775807)
        CROSS JOIN events AS each ON each.stream = place.stream AND each.seq = place.seq
        ORDER BY each.stream, each.seq
    """  # noqa: S608 - question marks only


def _migrations() -> list[str]:
    """The schema scripts in order: 0001.sql, 0002.sql …"""
    folder = resources.files("cloud_sync") / "schema"
    names = sorted(each.name for each in folder.iterdir() if re.match(r"^\d{4}\.sql$", each.name))
    if names != [f"{number:04}.sql" for number in range(1, len(names) + 1)]:
        raise RuntimeError(f"schema scripts are not numbered without gaps: {names}")
    return [(folder / name).read_text(encoding="utf-8") for name in names]


def _upsert_newest(table: str, key: str, values: Sequence[str]) -> str:
    """Keep the row of the later event, whichever comes first."""
    columns = ["hall", *([key] if key else []), *values, "stream", "seq"]
    conflict = f"hall, {key}" if key else "hall"
    updates = ", ".join(f"{name} = excluded.{name}" for name in [*values, "stream", "seq"])
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({_marks(columns)})"  # noqa: S608
        f" ON CONFLICT ({conflict}) DO UPDATE SET {updates}"
        f" WHERE (excluded.stream, excluded.seq) > ({table}.stream, {table}.seq)"
    )


_END_OF_THE_ROW = """
    SELECT CASE WHEN EXISTS (SELECT 1 FROM events WHERE stream = ?1 AND seq = ?2 + 1)
      THEN (SELECT each.seq FROM events AS each
        WHERE each.stream = ?1 AND each.seq > ?2
        AND NOT EXISTS (SELECT 1 FROM events WHERE stream = ?1 AND seq = each.seq + 1)
        ORDER BY each.seq LIMIT 1)
      ELSE ?2 END
"""
"""Where the events end that follow a place without a gap. Values: the stream, the place."""


_UPSERT_WINDOW = _upsert_newest("windows", "window", ["state", "clerk", "ticket", "number"])
_UPSERT_DEVICE = _upsert_newest("devices", "device", ["status", "detail"])
_UPSERT_DAY = _upsert_newest("days", "", ["business_day", "phase"])
_TICKET_COLUMNS = ["hall", *(field.name for field in fields(TicketRow))]
_REPLACE_TICKET = (
    f"INSERT OR REPLACE INTO tickets ({', '.join(_TICKET_COLUMNS)})"  # noqa: S608
    f" VALUES ({_marks(_TICKET_COLUMNS)})"
)

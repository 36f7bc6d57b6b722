"""The journal: what is appended is there, exactly, and the guards hold."""
# ruff: noqa: ASYNC240 - a test looks at files while nothing else runs

import asyncio
import errno
import fcntl
import os
import re
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from contract.envelope import CloudEvent, renumber, to_json
from contract.events import (
    HallEvent,
    TicketCancelled,
    TicketNoShow,
    TicketParked,
    TicketResumed,
    TicketTransferred,
)
from contract.names import CancelReason
from edge.journal import (
    Guard,
    Journal,
    JournalDamaged,
    JournalError,
    JournalFull,
    JournalGuardViolated,
    JournalLocked,
    JournalMissing,
    Snapshot,
)
from edge.journal.companion import Companion, FileLock, Pending, life_after_salvage
from edge.journal.database import check_all, connect
from edge.journal.salvage import salvage
from edge.ulid import new_ulid
from tests.support.hall_events import (
    HALL,
    called,
    closed,
    device,
    epochs,
    finished,
    issued,
    life,
    opened,
    rated,
    started,
    ulid,
)


@asynccontextmanager
async def journal_at(path: Path, hall: str = HALL) -> AsyncIterator[Journal]:
    journal = await Journal.open(path, hall=hall, new_epoch=epochs())
    try:
        yield journal
    finally:
        await journal.close()


@asynccontextmanager
async def killed_at_the_end(path: Path) -> AsyncIterator[Journal]:
    """Closed without what a clean stop writes."""
    journal = await Journal.open(path, hall=HALL, new_epoch=epochs())
    try:
        yield journal
    finally:
        await journal._close()


async def opened_and_closed(path: Path, hall: str = HALL) -> None:
    """For an opening that is to be refused: one that isn't must not leave its thread behind."""
    async with journal_at(path, hall):
        pass


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


async def all_events(journal: Journal, position: int = 0) -> list[tuple[int, HallEvent]]:
    return [pair async for pair in journal.events_since(position)]


async def test_a_new_journal_is_empty_and_has_an_epoch(path: Path) -> None:
    async with journal_at(path) as journal:
        assert (journal.head, journal.acked, journal.position) == (0, 0, 0)
        assert journal.epoch == ulid(1001)
        assert await journal.read(0, 10) == []
        assert await journal.load_snapshot() is None
        assert await all_events(journal) == []


async def test_what_is_journaled_is_exactly_what_is_sent(path: Path) -> None:
    events = life(0)
    async with journal_at(path) as journal:
        assert await journal.append(events) == 6
        epoch = journal.epoch
        rows = await journal.read(0, 100)
    assert rows == [
        (seq, to_json(event, hall=HALL, epoch=epoch, seq=seq))
        for seq, event in enumerate(events, start=1)
    ]
    assert CloudEvent.model_validate_json(rows[3][1]).event() == events[3]


async def test_a_reopened_journal_goes_on_where_it_was(path: Path) -> None:
    async with journal_at(path) as journal:
        await journal.append(life(0))
        epoch = journal.epoch
    async with journal_at(path) as journal:
        assert (journal.head, journal.epoch) == (6, epoch)
        await journal.append(life(1))
        assert await all_events(journal) == list(enumerate(life(0) + life(1), start=1))
    assert check_all(path) == []


async def test_reading_begins_behind_the_cursor_and_keeps_to_its_limit(path: Path) -> None:
    async with journal_at(path) as journal:
        await journal.append([device(str(n)) for n in range(10)])
        assert [seq for seq, _ in await journal.read(4, 3)] == [5, 6, 7]
        assert await journal.read(10, 3) == []


async def test_replay_goes_on_beyond_one_chunk(path: Path) -> None:
    async with journal_at(path) as journal:
        await journal.append([device(str(n)) for n in range(1201)])
        found = await all_events(journal, 100)
    assert [position for position, _ in found] == list(range(101, 1202))
    assert found[-1][1] == device("1200")


async def test_every_append_is_on_disk_when_it_returns(path: Path) -> None:
    async with journal_at(path) as journal:
        ((level,),) = await journal._database.execute_fetchall("PRAGMA synchronous")
        ((mode,),) = await journal._database.execute_fetchall("PRAGMA journal_mode")
    with closing(connect(path)) as database:
        assert database.execute("PRAGMA synchronous").fetchone() == (level,)
    assert (level, mode) == (2, "wal"), "less than FULL loses the newest appends at a power cut"


async def test_an_append_of_nothing_writes_nothing(path: Path) -> None:
    async with journal_at(path) as journal:
        assert await journal.append([]) == 0
        assert journal.head == 0


def _at(event_type: type[HallEvent], n: int, window: int, **more: object) -> HallEvent:
    return event_type.model_validate(called(n, window).model_dump() | more)


async def test_one_number_is_issued_once_a_day(path: Path) -> None:
    async with journal_at(path) as journal:
        await journal.append([issued(1, number="A007")])
        with pytest.raises(JournalGuardViolated) as refused:
            await journal.append([issued(2, number="A007")])
        assert refused.value.guard is Guard.NUMBER_ONCE_A_DAY
        await journal.append(life(900 + 6)[:1])  # A007 again, the next day


async def test_a_window_has_one_ticket(path: Path) -> None:
    async with journal_at(path) as journal:
        await journal.append([called(1, window=3)])
        with pytest.raises(JournalGuardViolated) as refused:
            await journal.append([called(2, window=3)])
        assert refused.value.guard is Guard.ONE_TICKET_PER_WINDOW


async def test_a_ticket_is_at_one_window(path: Path) -> None:
    async with journal_at(path) as journal:
        await journal.append([called(1, window=3)])
        with pytest.raises(JournalGuardViolated) as refused:
            await journal.append([called(1, window=4)])
        assert refused.value.guard is Guard.ONE_WINDOW_PER_TICKET


async def test_a_clerk_is_at_one_window_and_a_window_has_one_clerk(path: Path) -> None:
    async with journal_at(path) as journal:
        await journal.append([opened(3, "1001")])
        with pytest.raises(JournalGuardViolated) as refused:
            await journal.append([opened(4, "1001")])
        assert refused.value.guard is Guard.ONE_WINDOW_PER_CLERK
        with pytest.raises(JournalGuardViolated) as refused:
            await journal.append([opened(3, "1002")])
        assert refused.value.guard is Guard.ONE_CLERK_PER_WINDOW
        await journal.append([closed(3, "1001"), opened(4, "1001"), opened(3, "1002")])


@pytest.mark.parametrize(
    "leave",
    [
        finished,
        lambda n, window: _at(TicketNoShow, n, window),
        lambda n, window: _at(TicketTransferred, n, window, from_service="enquiry", to_window=None),
        lambda n, window: _at(TicketParked, n, window),
        lambda n, window: _at(TicketCancelled, n, window, reason=CancelReason.DAY_CLOSED),
    ],
    ids=["finished", "no-show", "transferred", "parked", "cancelled"],
)
async def test_a_window_that_is_left_takes_the_next_ticket_in_the_same_append(
    path: Path, leave: Callable[[int, int], HallEvent]
) -> None:
    async with journal_at(path) as journal:
        await journal.append([called(1, window=3), started(1, window=3)])
        await journal.append([leave(1, 3), called(2, window=3)])
        with pytest.raises(JournalGuardViolated):
            await journal.append([called(4, window=3)])
        await journal.append([finished(2, window=3), _at(TicketResumed, 1, 3)])
        with pytest.raises(JournalGuardViolated):
            await journal.append([called(4, window=3)])


async def test_guards_outlive_the_process(path: Path) -> None:
    async with journal_at(path) as journal:
        await journal.append([issued(1), called(1, window=3)])
    async with journal_at(path) as journal:
        with pytest.raises(JournalGuardViolated):
            await journal.append([called(2, window=3)])


async def test_an_append_is_kept_whole_or_not_at_all(path: Path) -> None:
    async with journal_at(path) as journal:
        await journal.append([issued(1), called(1, window=3)])
        with pytest.raises(JournalGuardViolated):
            await journal.append([finished(1, window=3), issued(2), called(2, 3), called(4, 3)])
        assert journal.head == 2
        # Neither the events before the bad one are there, nor what they did to the guards.
        await journal.append([issued(2)])
        with pytest.raises(JournalGuardViolated):
            await journal.append([called(2, window=3)])
        assert [type(event) for _, event in await all_events(journal)] == [
            type(issued(1)), type(called(1, 3)), type(issued(2)),
        ]  # fmt: skip
    assert check_all(path) == []


@pytest.mark.parametrize("tickets", [1, 85, 86, 900])
async def test_an_append_is_kept_to_the_letter_however_many_events_it_has(
    path: Path, tickets: int
) -> None:
    events = [event for n in range(tickets) for event in life(n)]
    async with journal_at(path) as journal:
        assert await journal.append(events) == 6 * tickets
        with pytest.raises(JournalGuardViolated):
            await journal.append([*(device(str(n)) for n in range(len(events))), issued(0)])
        assert await journal.read(0, len(events) + 1) == [
            (seq, to_json(event, hall=HALL, epoch=journal.epoch, seq=seq))
            for seq, event in enumerate(events, start=1)
        ]
        with pytest.raises(JournalGuardViolated):  # the guards have seen each of them
            await journal.append([issued(tickets - 1)])


async def test_a_second_writer_that_gets_past_the_lock_can_not_make_a_gap(path: Path) -> None:
    async with journal_at(path) as journal:
        await journal.append([device()])
        other = sqlite3.connect(path, isolation_level=None)
        body = to_json(device(), hall=HALL, epoch=journal.epoch, seq=2)
        other.execute("INSERT INTO events (position, body) VALUES (2, ?)", (body,))
        other.close()
        with pytest.raises(JournalError, match=r"another program \(there is an event 2\)"):
            await journal.append([device()])


async def test_an_append_whose_caller_is_cancelled_is_kept_and_the_next_goes_on(
    path: Path,
) -> None:
    async with journal_at(path) as journal:
        caller = asyncio.create_task(journal.append([device("first")]))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await journal.append([device("second")])
        assert [event for _, event in await all_events(journal)] == [
            device("first"), device("second"),
        ]  # fmt: skip


async def test_appends_at_once_do_not_mix(path: Path) -> None:
    async with journal_at(path) as journal:
        await asyncio.gather(
            *(journal.append([device(f"{n}.{k}") for k in range(3)]) for n in range(50))
        )
        details = [event.model_dump()["detail"] for _, event in await all_events(journal)]
    assert details == [f"{n}.{k}" for n in range(50) for k in range(3)]


# --- snapshots ----------------------------------------------------------------------------------


async def test_the_newest_snapshot_is_loaded_and_two_are_kept(path: Path) -> None:
    async with journal_at(path) as journal:
        await journal.append([device() for _ in range(5)])
        for position in (1, 3, 5):
            await journal.save_snapshot(position, f"state {position} 状态")
        assert await journal.load_snapshot() == Snapshot(5, "state 5 状态")
    with sqlite3.connect(path) as database:
        kept = database.execute("SELECT position FROM snapshots ORDER BY position").fetchall()
    database.close()
    assert kept == [(3,), (5,)]


async def test_a_damaged_snapshot_falls_back_to_the_one_before_and_then_to_none(
    path: Path,
) -> None:
    async with journal_at(path) as journal:
        await journal.append([device() for _ in range(5)])
        await journal.save_snapshot(2, "two")
        await journal.save_snapshot(5, "five")
    _write(path, "UPDATE snapshots SET state = 'fiv3' WHERE position = 5")
    async with journal_at(path) as journal:
        assert await journal.load_snapshot() == Snapshot(2, "two")
        assert journal.counters["snapshots_damaged"] == 1
    _write(path, "UPDATE snapshots SET state = 'tw0' WHERE position = 2")
    async with journal_at(path) as journal:
        assert await journal.load_snapshot() is None


def _write(path: Path, sql: str) -> None:
    database = sqlite3.connect(path)
    with database:
        database.execute(sql)
    database.close()


async def test_a_snapshot_of_events_that_are_not_there_is_refused(path: Path) -> None:
    async with journal_at(path) as journal:
        await journal.append([device()])
        for position in (0, 2):
            with pytest.raises(ValueError, match="no event"):
                await journal.save_snapshot(position, "{}")


# --- the cursor and epochs ----------------------------------------------------------------------


async def test_the_cursor_is_on_disk_after_a_clean_stop(path: Path) -> None:
    async with journal_at(path) as journal:
        await journal.append([device() for _ in range(5)])
        await journal.save_acked(4)
        await journal.save_acked(2)
        assert journal.acked == 4
    async with journal_at(path) as journal:
        assert journal.acked == 4


async def test_the_cursor_costs_few_writes(path: Path) -> None:
    async with journal_at(path) as journal:
        await journal.append([device() for _ in range(500)])
        log_before = path.with_name("journal.db-wal").stat().st_size
        for seq in range(1, 501):
            await journal.save_acked(seq)
        assert path.with_name("journal.db-wal").stat().st_size == log_before


async def test_a_cursor_beyond_the_head_is_refused(path: Path) -> None:
    async with journal_at(path) as journal:
        with pytest.raises(ValueError, match="beyond the head"):
            await journal.save_acked(1)


async def test_a_new_epoch_renumbers_what_was_not_acked_and_keeps_positions(path: Path) -> None:
    events = life(0) + life(1)
    async with journal_at(path) as journal:
        await journal.append(events)
        await journal.save_snapshot(8, "eight")
        await journal.save_acked(7)
        epoch = await journal.start_new_epoch()
        assert (journal.epoch, journal.head, journal.acked, journal.position) == (epoch, 5, 0, 12)
        assert await journal.read(0, 100) == [
            (seq, to_json(event, hall=HALL, epoch=epoch, seq=seq))
            for seq, event in enumerate(events[7:], start=1)
        ]
        assert await journal.append([device()]) == 13
        await journal.save_acked(2)
    assert check_all(path) == []
    async with journal_at(path) as journal:
        assert (journal.epoch, journal.head, journal.acked) == (epoch, 6, 2)
        assert await journal.load_snapshot() == Snapshot(8, "eight")
        assert [event for _, event in await all_events(journal, 8)] == [*events[8:], device()]


async def test_a_renumbered_event_is_otherwise_as_it_was_written_to_the_letter(path: Path) -> None:
    events = [
        device(detail) for detail in ("缺纸 🖨", 'a "quoted" \\ line\n\x00\x1f', "é\u2028", "")
    ]
    async with journal_at(path) as journal:
        await journal.append(events)
        before = await journal.read(0, 100)
        epoch = await journal.start_new_epoch()
        assert await journal.read(0, 100) == [
            (seq, renumber(text, epoch=epoch, seq=seq)) for seq, text in before
        ]
    assert check_all(path) == []


async def test_a_second_new_epoch_begins_behind_the_first(path: Path) -> None:
    async with journal_at(path) as journal:
        await journal.append([device(str(n)) for n in range(1300)])
        await journal.save_acked(100)
        await journal.start_new_epoch()
        await journal.save_acked(200)
        epoch = await journal.start_new_epoch()
        assert (journal.head, journal.acked) == (1000, 0)
        first = (await journal.read(0, 1))[0][1]
        assert first == to_json(device("300"), hall=HALL, epoch=epoch, seq=1)
    assert check_all(path) == []


# --- who may open it, and what is refused -------------------------------------------------------


async def test_a_second_instance_is_refused_until_the_first_is_closed(path: Path) -> None:
    async with journal_at(path):
        with pytest.raises(JournalLocked, match="another process"):
            await opened_and_closed(path)
    async with journal_at(path) as journal:
        await journal.check()


async def test_a_second_instance_is_refused_by_whatever_name_it_knows_the_file(
    path: Path, tmp_path: Path
) -> None:
    (tmp_path / "by-another-name.db").symlink_to(path)
    async with journal_at(path):
        with pytest.raises(JournalLocked):
            await opened_and_closed(tmp_path / "by-another-name.db")


async def test_another_halls_journal_is_refused(path: Path) -> None:
    async with journal_at(path):
        pass
    with pytest.raises(JournalError, match="'east-gate', this is hall 'west-gate'"):
        await opened_and_closed(path, hall="west-gate")


async def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no-such-folder"):
        await opened_and_closed(tmp_path / "no-such-folder" / "j.db")


async def test_a_closed_journal_says_so_and_closes_twice(path: Path) -> None:
    journal = await Journal.open(path, hall=HALL, new_epoch=epochs())
    await journal.close()
    await journal.close()
    for attempt in (journal.append([device()]), journal.read(0, 1), journal.check()):
        with pytest.raises(JournalError, match="closed"):
            await attempt


async def test_a_database_of_something_else_is_refused_untouched(path: Path) -> None:
    _write(path, "CREATE TABLE shopping (item TEXT)")
    before = path.read_bytes()
    with pytest.raises(JournalError, match="not a journal"):
        await opened_and_closed(path)
    database = sqlite3.connect(path)
    assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("shopping",)]
    database.close()
    assert len(path.read_bytes()) == len(before)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("DELETE FROM events WHERE position = 11", "events 11 to 11 are missing"),
        ("DELETE FROM events WHERE position > 9", "its events end at 9, but it knows of 10"),
        ("DELETE FROM events WHERE position < 3", "events 1 to 2 are missing"),
        ("UPDATE events SET body = substr(body, 1, 99) WHERE position = 12", "event 12: not an"),
        (
            "REPLACE INTO events SELECT 6, body FROM events WHERE position = 5",
            "event 6: it says",
        ),
        ("DELETE FROM epochs", "does not say whose it is"),
    ],
)
async def test_a_damaged_journal_is_refused_with_what_where_and_the_way_out(
    path: Path, damage: str, says: str
) -> None:
    async with journal_at(path) as journal:
        await journal.append(life(0) + life(1))
        await journal.save_acked(10)
    _write(path, damage)
    with pytest.raises(JournalDamaged, match=says) as refused:
        await opened_and_closed(path)
    assert str(path) in str(refused.value)
    assert "journal salvage" in str(refused.value)
    assert any(says in problem for problem in check_all(path))


async def test_a_file_that_is_no_database_any_more_is_damaged(path: Path) -> None:
    path.write_bytes(b"\xff" * 8192)
    with pytest.raises(JournalDamaged, match="not a database"):
        await opened_and_closed(path)
    assert check_all(path) == ["file is not a database"]


async def test_damage_far_behind_the_tail_is_found_by_the_thorough_check(path: Path) -> None:
    async with journal_at(path) as journal:
        await journal.append([device(str(n)) for n in range(1000)])
    _write(path, "DELETE FROM events WHERE position BETWEEN 300 AND 310")
    async with journal_at(path) as journal:
        assert journal.head == 1000
        with pytest.raises(JournalDamaged, match="events 300 to 310 are missing"):
            await all_events(journal)
    assert check_all(path) == ["events 300 to 310 are missing"]


async def test_the_watchdog_hears_of_a_journal_that_lost_events(path: Path) -> None:
    async with journal_at(path) as journal:
        await journal.append([device(), device()])
        await journal.check()
        _write(path, "DELETE FROM events WHERE position = 2")
        with pytest.raises(JournalDamaged):
            await journal.check()


async def test_rated_and_started_touch_no_guard(path: Path) -> None:
    async with journal_at(path) as journal:
        await journal.append([started(1, 3), started(2, 3), rated(1, 3), rated(1, 3)])
        assert journal.head == 4


# --- a file that goes away ----------------------------------------------------------------------


async def test_nothing_is_written_to_a_file_that_was_removed_until_it_is_back(
    tmp_path: Path,
) -> None:
    path, away = tmp_path / "journal.db", tmp_path / "away.db"
    async with journal_at(path) as journal:
        await journal.append([device("before")])
        path.rename(away)
        with pytest.raises(JournalMissing, match="was removed while it is in use"):
            await journal.append([device("meanwhile")])
        with pytest.raises(JournalMissing):
            await journal.check()
        away.rename(path)
        assert await journal.append([device("after")]) == 2
    assert check_all(path) == []


async def test_a_file_that_was_replaced_is_not_taken_for_the_one_that_was_opened(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.db"
    async with journal_at(path) as journal:
        await journal.append([device()])
        copy = path.with_suffix(".copy")
        copy.write_bytes(path.read_bytes())
        copy.rename(path)
        with pytest.raises(JournalMissing):
            await journal.append([device()])


async def test_a_journal_that_is_gone_at_a_start_is_not_begun_anew_without_a_word(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.db"
    async with journal_at(path) as journal:
        await journal.append([device()])
    path.unlink()
    with pytest.raises(JournalMissing, match=r"put it back.*remove .*journal\.db\.lock"):
        await opened_and_closed(path)
    assert not path.exists()
    (tmp_path / "journal.db.lock").unlink()
    await opened_and_closed(path)
    assert path.exists()


def remove_its_write_ahead_log(path: Path) -> None:
    path.with_name(path.name + "-wal").unlink()


def cut_it_short(path: Path) -> None:
    os.truncate(path, 0)


def remove_all_that_has_its_name(path: Path) -> None:
    for file in path.parent.glob("journal.db*"):
        file.unlink()


def remove_its_lock(path: Path) -> None:
    path.with_name(path.name + ".lock").unlink()


@pytest.mark.parametrize(
    "harm",
    [
        remove_its_write_ahead_log,
        cut_it_short,
        remove_all_that_has_its_name,
        remove_its_lock,
    ],
)
async def test_nothing_is_written_to_what_nobody_would_find_again(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    """And the next start knows that there was more: it refuses, or has an old copy before it."""
    path = tmp_path / "journal.db"
    async with killed_at_the_end(path) as journal:
        await journal.append([device("before")])
        harm(path)
        with pytest.raises(JournalMissing, match="while it is in use: nothing more is written"):
            await journal.append([device("after")])
        with pytest.raises(JournalMissing):
            await journal.check()
    try:
        async with journal_at(path) as journal:
            assert journal.position == 1 or journal.was_put_back
    except (JournalMissing, JournalDamaged):
        pass


async def test_a_lock_that_was_removed_in_use_makes_no_old_copy_of_the_journal(
    tmp_path: Path,
) -> None:
    """Neither a stop nor a kill may exchange the life in one of the two files alone."""
    path = tmp_path / "journal.db"
    async with journal_at(path) as journal:
        await journal.append([device()])
        remove_its_lock(path)
        with pytest.raises(JournalMissing):
            await journal.check()
    async with journal_at(path) as journal:
        assert journal.position == 1
        assert not journal.was_put_back


@pytest.mark.parametrize("lived", [False, True])
async def test_a_first_day_whose_write_ahead_log_is_lost_is_an_old_copy(
    tmp_path: Path, lived: bool
) -> None:
    """The file itself knows nothing of that day yet, not even its life."""
    path, copy = tmp_path / "journal.db", tmp_path / "copy.db"
    if lived:
        await opened_and_closed(path)
    async with killed_at_the_end(path) as journal:
        await journal.append([device()])
        copy.write_bytes(path.read_bytes())  # without what is in the log
    path.write_bytes(copy.read_bytes())
    async with journal_at(path) as journal:
        assert journal.position == 0
        assert journal.was_put_back


@pytest.mark.parametrize("left", ["nothing at all", "a database without a word"])
async def test_an_empty_journal_is_a_loss_where_there_was_one(tmp_path: Path, left: str) -> None:
    path = tmp_path / "journal.db"
    async with journal_at(path) as journal:
        await journal.append([device()])
    os.truncate(path, 0)
    if left != "nothing at all":
        with closing(connect(path)):
            pass
    with pytest.raises(JournalMissing, match="though there was one: put it back"):
        await opened_and_closed(path)


async def test_the_watchdog_hears_of_another_program_that_writes_to_the_journal(
    tmp_path: Path,
) -> None:
    path, elsewhere = tmp_path / "journal.db", tmp_path / "elsewhere.lock"
    async with journal_at(path) as first:
        lock = path.with_name(path.name + ".lock")
        lock.rename(elsewhere)
        async with journal_at(path) as second:
            await second.append([device()])
        elsewhere.rename(lock)
        with pytest.raises(JournalError, match=r"another program .*must start again"):
            await first.check()
        with pytest.raises(JournalError, match="another program"):
            await first.append([device()])


async def test_a_lock_on_a_disk_that_knows_none_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(JournalError, match="can't be locked: No locks available"):
        await opened_and_closed(tmp_path / "journal.db")


async def test_a_first_start_that_was_cut_off_before_there_was_a_journal_is_still_the_first(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.db"
    FileLock(path).release()
    await opened_and_closed(path)
    assert path.exists()


def put_back_in_place(copy: Path, path: Path) -> None:
    path.write_bytes(copy.read_bytes())


def put_back_as_a_file(copy: Path, path: Path) -> None:
    path.unlink()
    put_back_in_place(copy, path)


def put_back_on_a_new_card(copy: Path, path: Path) -> None:
    put_back_as_a_file(copy, path)
    path.with_name(path.name + ".lock").unlink()


def put_back_with_a_lock_of_long_ago(copy: Path, path: Path) -> None:
    put_back_as_a_file(copy, path)
    path.with_name(path.name + ".lock").write_text("There is a journal beside this file.\n")


@pytest.mark.parametrize(
    "put_back",
    [
        put_back_in_place,
        put_back_as_a_file,
        put_back_on_a_new_card,
        put_back_with_a_lock_of_long_ago,
    ],
)
async def test_a_copy_that_was_put_back_is_told_from_the_journal_until_it_is_settled(
    tmp_path: Path, put_back: Callable[[Path, Path], None]
) -> None:
    path, copy = tmp_path / "journal.db", tmp_path / "copy"
    async with journal_at(path) as journal:
        await journal.append([device("in the copy")])
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        await journal.append([device("behind it")])
    put_back(copy, path)
    ended_at = device("in the copy").at.wall
    day = ended_at.date()
    for start in range(2):
        async with journal_at(path) as journal:
            assert journal.was_put_back
            # Whatever was written by a start that was cut off.
            assert journal.pending == Pending(ended_at, 0, {day: 51} if start else {})
            await journal.append([issued(7000 + start)])
            await journal.note_left_out({day: 51})
    async with journal_at(path) as journal:
        await journal.settle()
        assert not journal.was_put_back
    async with journal_at(path) as journal:
        assert not journal.was_put_back


@pytest.mark.parametrize("settled", [False, True])
async def test_a_copy_of_the_same_run_that_is_written_over_the_file_after_a_kill_is_told(
    tmp_path: Path, settled: bool
) -> None:
    """The life and the inode are the same; only the floor knows that there was more."""
    path, copy = tmp_path / "journal.db", tmp_path / "copy"
    async with killed_at_the_end(path) as journal:
        await journal.append([device("in the copy")])
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        await journal.append([device("behind it")])
    for file in tmp_path.glob("journal.db-*"):
        file.unlink()
    put_back_in_place(copy, path)
    async with killed_at_the_end(path) as journal:
        assert journal.was_put_back
        await journal.append([device("at the start")])
        if settled:
            await journal.settle()
    async with journal_at(path) as journal:
        assert journal.was_put_back is not settled


async def test_the_same_run_in_another_file_is_a_copy(tmp_path: Path) -> None:
    """After a power cut the floor may be lower than what was issued."""
    path = tmp_path / "journal.db"
    async with killed_at_the_end(path) as journal:
        await journal.append([device()])
    path.rename(tmp_path / "copy")
    put_back_in_place(tmp_path / "copy", path)
    async with journal_at(path) as journal:
        assert journal.was_put_back


def salvaged(source: Path, name: str) -> Path:
    target = source.with_name(name)
    salvage(source, target, new_epoch=epochs())
    return target


async def worked_on(path: Path, *, was_put_back: bool) -> None:
    async with journal_at(path) as journal:
        assert journal.was_put_back is was_put_back
        await journal.append([device()])
        if was_put_back:
            await journal.settle()


async def test_a_salvaged_file_follows_its_journal_and_no_later_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await worked_on(path, was_put_back=False)
    never_used, kept = salvaged(path, "never-used"), path.read_bytes()
    await worked_on(path, was_put_back=False)
    never_used.rename(path)
    await worked_on(path, was_put_back=True)

    first, used_twice = salvaged(path, "first"), tmp_path / "used-twice"
    used_twice.write_bytes(first.read_bytes())
    (tmp_path / "damaged").write_bytes(path.read_bytes())
    first.rename(path)
    await worked_on(path, was_put_back=False)
    used_twice.rename(path)
    await worked_on(path, was_put_back=True)
    salvaged(tmp_path / "damaged", "again").rename(path)
    await worked_on(path, was_put_back=True)
    (tmp_path / "older").write_bytes(kept)
    salvaged(tmp_path / "older", "of-an-older-one").rename(path)
    await worked_on(path, was_put_back=True)
    salvaged(path, "salvaged").rename(tmp_path / "unused")
    salvaged(tmp_path / "unused", "of-an-unused-one").rename(path)
    await worked_on(path, was_put_back=True)


async def test_a_salvaged_file_without_the_newest_events_is_a_copy(tmp_path: Path) -> None:
    """A number of a lost event is on somebody's paper."""
    path, backup = tmp_path / "journal.db", tmp_path / "backup"
    async with killed_at_the_end(path) as journal:
        await journal.append([device("1")])
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as target:
            source.backup(target)
        await journal.append([device("2")])
    for file in tmp_path.glob("journal.db-*"):
        file.unlink()
    salvaged(backup, "new").rename(path)
    await worked_on(path, was_put_back=True)


async def test_a_salvaged_file_whose_first_start_was_cut_off_is_a_copy_the_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.db"
    await worked_on(path, was_put_back=False)
    new = salvaged(path, "new")
    kept = new.read_bytes()
    new.rename(path)
    with monkeypatch.context() as patch:
        cut_off = _cut_off_when_used_up(FileLock.remember, iter([None]))
        patch.setattr(FileLock, "remember", cut_off)
        with pytest.raises(_CutOff):
            await opened_and_closed(path)
    await worked_on(path, was_put_back=False)
    path.write_bytes(kept)
    await worked_on(path, was_put_back=True)


@pytest.mark.parametrize(
    ("seconds_ago", "is_copy"), [(3600, True), (60, False), (-60, False), (-3600, True)]
)
async def test_a_folder_that_was_put_back_in_place_with_its_lock_file_is_told_by_its_time(
    tmp_path: Path, seconds_ago: int, is_copy: bool
) -> None:
    """``cp backup/* .`` keeps both inodes, and lives and floor agree. What a power cut takes of the
    lock file's content is younger than this. It was perhaps done with another clock."""
    path = tmp_path / "journal.db"
    await worked_on(path, was_put_back=False)
    lock = path.with_name("journal.db.lock")
    place, digits, line = lock.read_bytes().rpartition(b" at ")
    lock.write_bytes(place + digits + b"%020d\n" % (int(line) - seconds_ago))
    async with journal_at(path) as journal:
        assert journal.was_put_back is is_copy


@pytest.mark.parametrize("name", ["in-a-circle", "x" * 300])
async def test_a_name_that_leads_to_no_file_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "in-a-circle").symlink_to("in-a-circle")
    with pytest.raises(JournalError, match=r"can't be looked for: .*another file"):
        await opened_and_closed(tmp_path / name)


async def test_what_was_found_out_while_it_is_open_is_known_at_the_next_start(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.db"
    async with journal_at(path) as journal:
        await journal.unsettle(4)
        await journal.unsettle(2)
        assert journal.was_put_back
    async with journal_at(path) as journal:
        assert journal.pending
        assert journal.pending.lost_events == 4
        await journal.settle()
    async with journal_at(path) as journal:
        assert not journal.was_put_back


def test_what_the_lock_file_knows_fits_in_its_place_and_is_read_back() -> None:
    """Its floor lies behind it, and is written alone."""
    days = {date(2026, 12, day): 99_999 for day in (29, 30, 31)}
    since = datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=13)))
    longest = Companion(
        inode=2**64,
        lives=("f" * 32, life_after_salvage("f" * 32, 2**63)),
        position=10**20 - 1,
        pending=Pending(since, 2**63 - 1, days, new_ulid()),
        noted={day: frozenset({"B7", "ZZ2"}) for day in days},
        reached={day: frozenset({"A99999", "ZZ1", "ZZ500"}) for day in days},
    )
    text = longest.to_bytes()
    assert text.rindex(b"position") == 448
    assert len(text) == 4096
    assert Companion.from_bytes(text) == longest
    many = frozenset(f"{prefix}{n}" for prefix in "ABC" for n in range(100, 500))
    crowding = replace(longest, noted={}, reached=dict.fromkeys(days, many))
    crowded = Companion.from_bytes(crowding.to_bytes())
    assert crowded is not None
    ((day, kept),) = crowded.reached.items()
    assert day == max(days), "the newest"
    assert len(kept) > 600
    assert {"A100", "B100", "C100"} <= many - kept
    assert max(map(ordinal, many - kept)) <= min(map(ordinal, kept)), "the greatest"


def ordinal(number: str) -> int:
    return int(number[1:])


@pytest.mark.parametrize(
    "pending",
    [
        '["2026-03-02T09:00:00", 0, {}, null]',
        '["2026-03-02T09:00:00+08:00", Infinity, {}, null]',
        '["2026-03-02T09:00:00+08:00", 0, {"monday": 3}, null]',
        '["2026-03-02T09:00:00+08:00", 0, [], null]',
        '["2026-03-02T09:00:00+08:00", 0]',
        "nonsense",
        "{}",
    ],
)
async def test_what_somebody_has_written_into_the_lock_file_ends_no_start(
    tmp_path: Path, pending: str
) -> None:
    path = tmp_path / "journal.db"
    async with journal_at(path) as journal:
        await journal.unsettle(4)
    lock = path.with_name("journal.db.lock")
    text = re.sub(
        rb"^pending .*$", b"pending " + pending.encode(), lock.read_bytes(), flags=re.MULTILINE
    )
    lock.write_bytes(
        re.sub(rb"^life .*$", b"reached " + pending.encode(), text, flags=re.MULTILINE)
    )
    async with journal_at(path) as journal:
        assert journal.was_put_back, "it is another file than whoever knows what"


def databases_threads() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if "_connection_worker_thread" in each.name}


async def test_a_lock_file_that_can_not_be_read_is_said_and_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.db"
    await opened_and_closed(path)

    def failing(_: FileLock) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    before = databases_threads()
    with monkeypatch.context() as patch:
        patch.setattr(FileLock, "_content", failing)
        with pytest.raises(JournalError, match=r"journal\.db\.lock can't be read: Input/output"):
            await opened_and_closed(path)
    for thread in databases_threads() - before:
        thread.join(10)
        assert not thread.is_alive(), "the interpreter could not end"
    await opened_and_closed(path)


async def test_a_vacuum_by_hand_makes_it_shorter_and_not_incomplete(path: Path) -> None:
    async with journal_at(path) as journal:
        await journal.append([device(str(n)) for n in range(2000)])
        await journal.save_snapshot(2000, "x" * 10**6)
        for n in (1998, 1999):
            await journal.save_snapshot(n, "")
        with closing(sqlite3.connect(path)) as other:
            other.execute("DELETE FROM snapshots WHERE position = 2000")
            other.commit()
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            await journal.append([device("sees how long it is")])
            before = path.stat().st_size
            other.execute("VACUUM")
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert path.stat().st_size < before
        await journal.append([device("and goes on")])
        await journal.check()
        os.truncate(path, path.stat().st_size // 4096 // 2 * 4096)
        with pytest.raises(JournalError, match=r"cut short|damaged"):
            await journal.append([device("not to this one")])


async def test_a_journal_that_goes_on_after_a_kill_is_no_copy(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with killed_at_the_end(path):
        pass
    async with journal_at(path) as journal:
        assert not journal.was_put_back


@pytest.mark.parametrize("writes", range(3))
async def test_a_start_that_is_cut_off_leaves_no_copy_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """A life is exchanged in three writes: to the lock's file, the journal, the lock's file."""
    path = tmp_path / "journal.db"
    await opened_and_closed(path)
    left = iter([None] * writes)
    with monkeypatch.context() as patch:
        for owner, name in ((FileLock, "remember"), (Journal, "_run")):
            patch.setattr(owner, name, _cut_off_when_used_up(getattr(owner, name), left))
        with pytest.raises(_CutOff):
            await opened_and_closed(path)
    async with journal_at(path) as journal:
        assert not journal.was_put_back


class _CutOff(BaseException):
    pass


def _cut_off_when_used_up(write: Any, left: Iterator[None]) -> Any:
    def cut_off(self: Any, *arguments: Any) -> Any:
        is_write = not isinstance(arguments[0], str) or arguments[0].startswith("UPDATE")
        if is_write and next(left, _CutOff) is _CutOff:
            raise _CutOff
        return write(self, *arguments)

    return cut_off


async def test_a_lock_file_that_can_not_be_written_is_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", no_room)
    with pytest.raises(JournalFull, match=r"journal\.db\.lock can't be written: No space left"):
        await opened_and_closed(tmp_path / "journal.db")


async def test_a_press_does_not_wait_for_somebody_elses_lock(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with journal_at(path) as journal:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(JournalError, match=r"held by another program.* End what else"):
                await journal.append([device()])
        ((milliseconds,),) = await journal._run("PRAGMA busy_timeout")
        assert milliseconds <= 200
        assert await journal.append([device()]) == 1

"""A journal that is damaged on the disk: refused at the start, and what is left is had back."""
# ruff: noqa: ASYNC240 - a test looks at files while nothing else runs

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from contract.envelope import CloudEvent
from contract.events import HallEvent
from edge.journal import Journal, JournalDamaged, JournalError, JournalLocked
from edge.journal.database import check_all
from edge.journal.salvage import Salvage, salvage
from tests.support.hall_events import HALL, called, device, epochs, issued, life, opened, ulid

PAGE = 4096
TICKETS = 400
ACKED = 1200
SNAPSHOT = 2000


def everything() -> list[HallEvent]:
    return [event for n in range(TICKETS) for event in life(n)]


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A journal of 2,400 events and two that leave window 3 taken, by clerk 103."""
    path = tmp_path / "journal.db"
    journal = await Journal.open(path, hall=HALL, new_epoch=epochs())
    for n in range(TICKETS):
        await journal.append(life(n))
        if journal.position == SNAPSHOT // 6 * 6:
            await journal.save_snapshot(journal.position, "state")
    await journal.append([opened(3, "103"), called(TICKETS, 3)])
    await journal.save_acked(ACKED)
    await journal.close()
    return path


def pages_of(path: Path, kind: int) -> list[int]:
    """Numbers, from 0, of the b-tree pages of this kind: 5 interior, 13 leaf of a table."""
    content = path.read_bytes()
    return [n for n in range(1, len(content) // PAGE) if content[n * PAGE] == kind]


def overwrite(path: Path, page: int, content: bytes = b"\xa5" * PAGE) -> None:
    with path.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(content)


def leaf_of(path: Path, position: int) -> int:
    """The page that holds this event."""
    with closing(sqlite3.connect(path)) as database:
        (body,) = database.execute(
            "SELECT body FROM events WHERE position = ?", (position,)
        ).fetchone()
    return path.read_bytes().index(body.encode()) // PAGE


def rescue(path: Path, acked: int | None = None) -> tuple[Salvage, Path]:
    before = path.read_bytes()
    target = path.with_name("salvaged.db")
    result = salvage(path, target, new_epoch=lambda: ulid(2001), acked=acked)
    assert path.read_bytes() == before  # the damaged file is only read
    assert sorted(each.name for each in path.parent.glob("salvaged*")) == ["salvaged.db"]
    assert check_all(target) == []
    return result, target


async def content_of(target: Path) -> tuple[list[HallEvent], list[str], Journal]:
    journal = await Journal.open(target, hall=HALL, new_epoch=epochs())
    events = [event async for _, event in journal.events_since(0)]
    return events, [body for _, body in await journal.read(0, 10_000)], journal


async def test_a_leaf_in_the_middle_costs_only_its_own_events(path: Path) -> None:
    overwrite(path, leaf_of(path, 700))
    result, target = rescue(path)
    assert len(result.lost) == 1
    first, last = result.lost[0]
    assert first <= 700 <= last < first + 12
    assert result.continues
    lost = range(first - 1, last)
    events, to_send, journal = await content_of(target)
    try:
        assert events[: first - 1] + events[first - 1 :] == [
            event
            for n, event in enumerate([*everything(), opened(3, "103"), called(TICKETS, 3)])
            if n not in lost
        ]
        # Only what the centre does not keep is to be sent, as 1, 2, 3 … of the new epoch.
        envelopes = [CloudEvent.model_validate_json(body) for body in to_send]
        assert result.to_send == len(envelopes) == 2402 - ACKED
        assert [(each.epoch, each.seq) for each in envelopes] == [
            (ulid(2001), seq) for seq in range(1, len(envelopes) + 1)
        ]
        assert envelopes[0].event() == everything()[ACKED]
        # The snapshot is where its events are now.
        snapshot = await journal.load_snapshot()
        assert snapshot == (SNAPSHOT // 6 * 6 - len(lost), "state")
    finally:
        await journal.close()


async def test_the_guards_are_had_back_too(path: Path) -> None:
    overwrite(path, leaf_of(path, 700))
    _, target = rescue(path)
    journal = await Journal.open(target, hall=HALL, new_epoch=epochs())
    try:
        for twice in (issued(399), called(5000, 3), opened(4, "103")):
            with pytest.raises(JournalError, match="guard"):
                await journal.append([twice])
    finally:
        await journal.close()


async def test_a_damaged_inner_page_costs_nothing(path: Path) -> None:
    (inner,) = pages_of(path, 5)[:1]
    overwrite(path, inner)
    with pytest.raises(JournalDamaged, match="salvage"):
        await Journal.open(path, hall=HALL, new_epoch=epochs())
    result, target = rescue(path)
    assert (result.events, result.lost, result.continues) == (2402, (), True)
    events, _, journal = await content_of(target)
    await journal.close()
    assert events == [*everything(), opened(3, "103"), called(TICKETS, 3)]


async def test_a_damaged_first_page_costs_nothing_once_acked_is_given(path: Path) -> None:
    overwrite(path, 0)
    with pytest.raises(JournalDamaged, match="not a database"):
        await Journal.open(path, hall=HALL, new_epoch=epochs())
    with pytest.raises(JournalError, match="--acked SEQ"):
        rescue(path)
    for typo in (-5, 2403, 10**23):
        with pytest.raises(JournalError, match="Give 0 to 2402"):
            rescue(path, acked=typo)
    result, target = rescue(path, acked=1300)
    assert (result.events, result.lost, result.to_send) == (2402, (), 1102)
    events, _, journal = await content_of(target)
    await journal.close()
    assert events == [*everything(), opened(3, "103"), called(TICKETS, 3)]


async def test_events_longer_than_a_page_are_had_back_from_bare_pages(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    long = [device("长" * 200 * n) for n in range(60)]
    journal = await Journal.open(path, hall=HALL, new_epoch=epochs())
    await journal.append(long)
    await journal.close()
    overwrite(path, 0)
    result, target = rescue(path, acked=0)
    assert result.lost == ()
    events, _, journal = await content_of(target)
    await journal.close()
    assert events == long


async def test_what_is_only_in_the_log_of_a_killed_process_is_had_back(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = await Journal.open(path, hall=HALL, new_epoch=epochs())
    await journal.append(life(0))
    killed = tmp_path / "killed"
    killed.mkdir()
    for name in ("journal.db", "journal.db-wal"):  # as a crash leaves them
        (killed / name).write_bytes((tmp_path / name).read_bytes())
    await journal.close()
    overwrite(killed / "journal.db", 0)
    # SQLite takes the first page from the log then, and all is well; unless that is damaged too.
    log = bytearray((killed / "journal.db-wal").read_bytes())
    log[40] ^= 0xFF  # the first frame's checksum
    (killed / "journal.db-wal").write_bytes(log)
    result, target = rescue(killed / "journal.db", acked=0)
    assert (result.events, result.lost) == (6, ())
    events, _, journal = await content_of(target)
    await journal.close()
    assert events == life(0)


async def test_a_hole_behind_the_snapshot_means_an_empty_line(path: Path) -> None:
    overwrite(path, leaf_of(path, 2300))
    result, target = rescue(path)
    assert not result.continues
    assert "must take a new number" in str(result)
    journal = await Journal.open(target, hall=HALL, new_epoch=epochs())
    try:
        assert await journal.load_snapshot() == (journal.position, "")
        with pytest.raises(JournalError, match="number_once_a_day"):
            await journal.append([issued(399)])  # found or not: it is on somebody's paper
        await journal.append([opened(3, "103"), called(399, 3)])
    finally:
        await journal.close()


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_pages_are_overwritten_what_comes_back_is_true(
    path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    pages = path.stat().st_size // PAGE
    for page in chance.sample(range(pages), 5):
        overwrite(path, page, chance.choice([bytes(PAGE), chance.randbytes(PAGE)]))
    result, target = rescue(path, acked=ACKED)
    missing = sum(last - first + 1 for first, last in result.lost)
    expected = [*everything(), opened(3, "103"), called(TICKETS, 3)]
    assert result.events + missing <= len(expected)
    assert missing <= 5 * 12
    lost = {place for first, last in result.lost for place in range(first - 1, last)}
    events, _, journal = await content_of(target)
    await journal.close()
    assert events == [
        event
        for place, event in enumerate(expected[: result.events + missing])
        if place not in lost
    ]


async def test_salvage_of_a_sound_journal_keeps_everything(path: Path) -> None:
    result, _ = rescue(path)
    assert (result.events, result.lost, result.continues) == (2402, (), True)


async def test_salvage_refuses_what_it_should_not_touch(path: Path, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="exists already"):
        salvage(path, path, new_epoch=epochs())
    with pytest.raises(JournalError, match="no file"):
        salvage(tmp_path / "nothing.db", tmp_path / "new.db", new_epoch=epochs())
    (tmp_path / "noise.db").write_bytes(bytes(3 * PAGE))
    with pytest.raises(JournalError, match="nothing can be read"):
        salvage(tmp_path / "noise.db", tmp_path / "new.db", new_epoch=epochs())
    journal = await Journal.open(path, hall=HALL, new_epoch=epochs())
    try:
        with pytest.raises(JournalLocked):
            salvage(path, tmp_path / "new.db", new_epoch=epochs())
    finally:
        await journal.close()
    assert not (tmp_path / "new.db").exists()

"""What can't be taken is kept with the reason: soon, seldom written, and never too much."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from edge.clock import ManualClock
from edge.dead_letters import (
    MAX_PAYLOAD_BYTES,
    MAX_TOPIC_CHARACTERS,
    MAX_UNWRITTEN,
    WRITTEN_EVERY_SECONDS,
    DeadLetters,
)
from edge.journal import Journal, JournalFull
from edge.journal.database import newest_dead_letters
from edge.journal.journal import DeadLetter
from tests.support.hall_events import HALL, START, epochs
from tests.support.virtual_time import in_virtual_time

SETTLE_SECONDS = 0.001


class File:
    """Keeps what it is given, a list for each time that it was written."""

    def __init__(self) -> None:
        self.writes: list[list[bytes]] = []
        self.full = False

    async def keep_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        if self.full:
            raise JournalFull("the disk is full")
        self.writes.append([letter.payload for letter in letters])


@asynccontextmanager
async def kept_in(file: File) -> AsyncIterator[DeadLetters]:
    letters = DeadLetters(file, ManualClock(START))
    keeping = asyncio.create_task(letters.run())
    yield letters
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping


@in_virtual_time
async def test_the_first_is_written_at_once_and_those_that_follow_together() -> None:
    file = File()
    async with kept_in(file) as letters:
        letters.put("t", b"1", "why")
        await asyncio.sleep(SETTLE_SECONDS)
        assert file.writes == [[b"1"]]
        for payload in (b"2", b"3", b"4"):
            letters.put("t", payload, "why")
            await asyncio.sleep(WRITTEN_EVERY_SECONDS / 5)
        assert len(file.writes) == 1
        await asyncio.sleep(WRITTEN_EVERY_SECONDS)
        assert file.writes == [[b"1"], [b"2", b"3", b"4"]]
        await asyncio.sleep(100 * WRITTEN_EVERY_SECONDS)
        assert len(file.writes) == 2


@in_virtual_time
async def test_of_a_flood_the_first_are_kept_and_all_are_counted() -> None:
    file = File()
    async with kept_in(file) as letters:
        for n in range(MAX_UNWRITTEN + 50):
            letters.put("t", b"%d" % n, "why")
        await asyncio.sleep(SETTLE_SECONDS)
        assert file.writes == [[b"%d" % n for n in range(MAX_UNWRITTEN)]]
        assert letters.counters == {
            "dead_letters": MAX_UNWRITTEN + 50,
            "dead_letters_dropped": 50,
        }


@in_virtual_time
async def test_what_a_full_disk_refuses_is_written_when_there_is_room() -> None:
    file = File()
    async with kept_in(file) as letters:
        file.full = True
        letters.put("t", b"1", "why")
        await asyncio.sleep(3 * WRITTEN_EVERY_SECONDS)
        file.full = False
        await asyncio.sleep(WRITTEN_EVERY_SECONDS)
        assert file.writes == [[b"1"]]


async def test_they_stand_in_the_journal_cut_to_size_and_readable_by_anybody(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.db"
    journal = await Journal.open(path, hall=HALL, new_epoch=epochs())
    letters = DeadLetters(journal, ManualClock(START))
    letters.put("halls/\udcff\x1b[31m" + "x" * 900, b"\x00" * 10_000, "no \udc80 \x00 good")
    await letters.write()
    await journal.close()
    ((received_at, topic, reason, payload),) = newest_dead_letters(path, 20)
    assert received_at == START.isoformat()
    assert topic.startswith("halls/\\udcff")
    assert topic.isprintable()
    assert len(topic) == MAX_TOPIC_CHARACTERS
    assert reason.isprintable()
    assert payload == b"\x00" * MAX_PAYLOAD_BYTES


async def test_the_newest_thousand_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = await Journal.open(path, hall=HALL, new_epoch=epochs())
    for start in range(0, 1250, 50):
        await journal.keep_dead_letters(
            [DeadLetter(START, "t", "why", b"%d" % n) for n in range(start, start + 50)]
        )
    await journal.close()
    kept = [payload for *_, payload in newest_dead_letters(path, 5_000)]
    assert kept == [b"%d" % n for n in range(250, 1250)]

"""A full disk is refused loudly, keeps nothing half, and heals."""

import resource
from pathlib import Path

import pytest

from edge.journal import Journal, JournalFull
from edge.journal.database import check_all
from tests.support.hall_events import HALL, device, epochs, life


async def fill(journal: Journal) -> None:
    """Append groups until the disk is full. Every one before was kept."""
    for n in range(100_000):
        before = journal.position
        try:
            assert await journal.append(life(n) * 1 + [device("x" * 500)]) == before + 7
        except JournalFull:
            assert journal.position == before
            return
    raise AssertionError("the disk never became full")


async def assert_it_is_whole(journal: Journal, path: Path, appended: int) -> None:
    assert journal.position == appended
    assert len([position async for position, _ in journal.events_since(0)]) == appended
    assert check_all(path) == []


async def test_a_full_disk_is_refused_keeps_nothing_half_and_heals(small_disk: Path) -> None:
    path = small_disk / "journal.db"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(700_000))
    journal = await Journal.open(path, hall=HALL, new_epoch=epochs())
    try:
        await fill(journal)
        full = journal.position
        for _ in range(3):
            with pytest.raises(JournalFull, match="disk"):
                await journal.append([device("y" * 100_000)])
        await journal.check()  # it can still be read
        assert len(await journal.read(0, 10)) == 10
        await assert_it_is_whole(journal, path, full)

        ballast.unlink()
        for n in range(100):
            await journal.append([device(str(n))])
        await assert_it_is_whole(journal, path, full + 100)
    finally:
        await journal.close()


async def test_a_hall_that_stops_while_the_disk_is_full_starts_when_there_is_room(
    small_disk: Path,
) -> None:
    path = small_disk / "journal.db"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(700_000))
    journal = await Journal.open(path, hall=HALL, new_epoch=epochs())
    await fill(journal)
    full = journal.position
    await journal.save_acked(full)
    await journal.close()  # the cursor may not reach the disk; that is no reason to fail
    ballast.unlink()
    journal = await Journal.open(path, hall=HALL, new_epoch=epochs())
    try:
        await assert_it_is_whole(journal, path, full)
        await journal.append([device()])
    finally:
        await journal.close()


async def test_no_new_journal_on_a_full_disk(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(2 * 1024 * 1024))
    with pytest.raises(JournalFull):
        await (await Journal.open(small_disk / "journal.db", hall=HALL, new_epoch=epochs())).close()
    (small_disk / "ballast").unlink()
    journal = await Journal.open(small_disk / "journal.db", hall=HALL, new_epoch=epochs())
    await journal.close()


async def test_a_write_error_in_the_middle_of_an_append_keeps_nothing_and_heals(
    tmp_path: Path,
) -> None:
    """The kernel refuses to let any file grow: EFBIG, an I/O error to SQLite."""
    path = tmp_path / "journal.db"
    journal = await Journal.open(path, hall=HALL, new_epoch=epochs())
    try:
        await journal.append(life(0))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        log = path.with_name("journal.db-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (log + 10_000, hard))
        try:
            with pytest.raises(JournalFull):
                await journal.append([device("z" * 50_000)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert journal.position == 6
        await journal.append(life(1))
        await assert_it_is_whole(journal, path, 12)
    finally:
        await journal.close()

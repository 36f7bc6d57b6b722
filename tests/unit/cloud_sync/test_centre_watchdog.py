"""The centre's watchdog is fed while the database is both written and read."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cloud_sync.service import _feed_watchdog
from cloud_sync.store import Store
from cloud_sync.store.sqlite import SqliteStore
from tests.support.service_manager import ServiceManager, service_manager

NOT_ANSWERED = "the database has not answered"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "centre.db")
    yield opened
    await opened.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServiceManager]:
    with service_manager(tmp_path, monkeypatch, watchdog_seconds=1.5) as manager:
        yield manager


@asynccontextmanager
async def feeding(store: Store) -> AsyncIterator[None]:
    task = asyncio.create_task(_feed_watchdog(store))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def said(caplog: pytest.LogCaptureFixture, words: str) -> None:
    async with asyncio.timeout(20):
        while words not in caplog.text:
            await asyncio.sleep(0.01)


async def test_it_is_fed_while_the_database_answers(
    store: SqliteStore, manager: ServiceManager
) -> None:
    async with feeding(store):
        assert await manager.hear() == b"WATCHDOG=1"
        assert await manager.hear() == b"WATCHDOG=1"


@pytest.mark.parametrize("at_work", ["_writing", "_reading"])
async def test_it_starves_while_somebody_never_ends_what_he_began(
    store: SqliteStore, manager: ServiceManager, caplog: pytest.LogCaptureFixture, at_work: str
) -> None:
    lock: asyncio.Lock = getattr(store, at_work)
    await lock.acquire()
    async with feeding(store):
        await said(caplog, NOT_ANSWERED)
        assert manager.silent()
        lock.release()
        assert await manager.hear() == b"WATCHDOG=1"


async def test_it_starves_while_the_writing_connection_hangs(
    store: SqliteStore, manager: ServiceManager, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a disk that has stopped to answer: the connection's own thread stands still."""
    loop, stands_still, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def stand_still() -> bool:
        loop.call_soon_threadsafe(stands_still.set)
        return go_on.wait(60)

    await store._db.create_function("stand_still", 0, stand_still)
    hanging = asyncio.ensure_future(store._db.execute_fetchall("SELECT stand_still()"))
    await stands_still.wait()
    async with feeding(store):
        await said(caplog, NOT_ANSWERED)
        assert manager.silent()
        go_on.set()
        assert await manager.hear() == b"WATCHDOG=1"
    assert list(await hanging) == [(1,)]


class Failing(SqliteStore):
    """A database that says that it can't, until it can."""

    fails = True

    async def check(self) -> None:
        if self.fails:
            raise sqlite3.OperationalError("disk I/O error")
        await super().check()


async def test_it_starves_while_the_database_fails(
    tmp_path: Path, manager: ServiceManager, caplog: pytest.LogCaptureFixture
) -> None:
    store = await Failing.open(tmp_path / "centre.db")
    try:
        async with feeding(store):
            await said(caplog, "the watchdog is not fed: OperationalError('disk I/O error')")
            assert manager.silent()
            store.fails = False
            assert await manager.hear() == b"WATCHDOG=1"
    finally:
        await store.close()

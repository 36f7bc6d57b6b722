"""What the centre's log says of its way to the broker: where, who, where to look; once."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cloud_sync.service import Centre, Environment
from cloud_sync.store import Position
from cloud_sync.store.sqlite import SqliteStore
from messaging.session import MqttConfig
from tests.support.broker import Broker


@asynccontextmanager
async def working(
    folder: Path, mqtt: MqttConfig, kind: type[SqliteStore] = SqliteStore
) -> AsyncIterator[Centre]:
    store = await kind.open(folder / "centre.db")
    centre = Centre(store, mqtt, 45.0, Environment())
    task = asyncio.create_task(centre.run())
    try:
        yield centre
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    messages = [record.getMessage() for record in caplog.records]
    return [message for message in messages if message.startswith("not in touch")]


async def test_a_refused_login_is_said_once_with_broker_user_and_keys(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(tmp_path, replace(broker.client("centre"), password="wrong")) as centre:
        await until(lambda: centre.ingest.counters["reconnects"] >= 3)
    (line,) = said(caplog)
    assert f"the broker at 127.0.0.1:{broker.port} refused user centre: Not authorized" in line
    assert "Look at username and password_file in [mqtt]" in line


async def test_a_broker_that_is_away_is_said_once_each_time(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await broker.stop()
    async with working(tmp_path, broker.client("centre")) as centre:
        await until(lambda: centre.ingest.counters["reconnects"] >= 3)
        (line,) = said(caplog)
        assert f"no connection to the broker at 127.0.0.1:{broker.port}: " in line
        assert "Look at host and port in [mqtt]" in line
        await broker.start()
        await until(centre.connected.is_set)
        await broker.kill9()
        reconnects = centre.ingest.counters["reconnects"]
        await until(lambda: centre.ingest.counters["reconnects"] >= reconnects + 3)
    _, lost, away = said(caplog)  # it had been over: both are new
    assert f"the broker at 127.0.0.1:{broker.port}" in lost
    assert away == line


class Unreadable(SqliteStore):
    """A database on a disk that can't be read until it is mended, and takes its time to say so:
    the session is subscribed by then."""

    mended = False
    reads = 0

    async def positions(self) -> tuple[Position, ...]:
        await self._read()
        return await super().positions()

    async def totals(self) -> tuple[int, int]:
        await self._read()
        return await super().totals()

    async def _read(self) -> None:
        type(self).reads += 1
        if not self.mended:
            await asyncio.sleep(0.2)
            raise sqlite3.OperationalError("disk I/O error")


class ShowsNothing(Unreadable):
    """Another, of which only what the dashboards show is unreadable."""

    async def positions(self) -> tuple[Position, ...]:
        return await SqliteStore.positions(self)


@pytest.mark.parametrize("kind", [Unreadable, ShowsNothing])
async def test_a_database_that_can_not_be_read_is_said_once_and_asked_ever_more_seldom(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: type[Unreadable]
) -> None:
    class Disk(kind):  # type: ignore[misc, valid-type]
        """This test's own."""

    caplog.set_level(logging.INFO)
    began = asyncio.get_running_loop().time()
    async with working(tmp_path, broker.client("centre"), Disk) as centre:
        await until(lambda: centre.ingest.counters["reconnects"] >= 4)
        assert asyncio.get_running_loop().time() - began > (0.5 + 1 + 2) / 2, "it backs off"
        assert not centre.connected.is_set()
        (line,) = said(caplog)
        assert "disk I/O error" in line
        assert "in touch with the halls at" not in caplog.text
        Disk.mended = True
        await until(centre.connected.is_set)
        assert caplog.text.count("in touch with the halls at") == 1
    assert Disk.reads > 4

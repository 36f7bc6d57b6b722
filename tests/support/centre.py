"""The centre as a process, and a hall that sends events to it as the wire contract says."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from contract import topics
from contract.documents import Ack
from messaging.session import Session
from simulator.ports import free_ports
from tests.support.broker import Broker
from tests.support.hall_day import EPOCH, backlog


class CentreProcess:
    """``nowserving-sync run`` on a real broker, with its own database."""

    def __init__(self, directory: Path, broker: Broker, page: str = "") -> None:
        """``page``: more lines for its section of the configuration."""
        directory.mkdir(parents=True, exist_ok=True)
        self.database = directory / "centre.db"
        (self.page_port,) = free_ports(0)
        self.log = directory / "centre.log"
        self.config = directory / "sync.toml"
        for user in ("centre", "dashboards"):
            (directory / user).write_text(broker.users[user][0] + "\n", encoding="utf-8")
        self.config.write_text(
            f"""
[mqtt]
host = "127.0.0.1"
port = {broker.port}
username = "centre"
password_file = "{directory}/centre"

[store]
path = "{self.database}"

[page]
port = {self.page_port}
websocket_port = {broker.websocket_port}
password_file = "{directory}/dashboards"
{page}
""",
            encoding="utf-8",
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start, and return when it is in touch with the broker."""
        self._process = self._spawn()
        async with asyncio.timeout(30), aiohttp.ClientSession() as client:
            while not await self._healthy(client):
                if self._process.poll() is not None:
                    raise RuntimeError(f"the centre ended: {self.log.read_text()}")
                await asyncio.sleep(0.05)

    async def _healthy(self, client: aiohttp.ClientSession) -> bool:
        try:
            async with client.get(f"http://127.0.0.1:{self.page_port}/healthz") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    def _spawn(self) -> subprocess.Popen[bytes]:
        environment = {k: v for k, v in os.environ.items() if k != "NOTIFY_SOCKET"}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "cloud_sync.cli", "run", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )

    async def stop(self) -> int:
        """A clean stop; returns the exit code."""
        return await self._end(signal.SIGTERM)

    async def kill9(self) -> None:
        await self._end(signal.SIGKILL)

    async def _end(self, how: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(how)
        code = await asyncio.to_thread(self._process.wait, 30)
        self._process = None
        return code

    def seqs(self, hall: str, epoch: str = EPOCH) -> list[int]:
        """What is in the database, in order, read from outside."""
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        try:
            rows = connection.execute(
                "SELECT seq FROM events JOIN streams ON streams.id = stream"
                " JOIN halls ON halls.id = hall WHERE name = ? AND epoch = ? ORDER BY seq",
                (hall, epoch),
            )
            return [row[0] for row in rows]
        finally:
            connection.close()


@asynccontextmanager
async def running_centre(
    directory: Path, broker: Broker, page: str = ""
) -> AsyncIterator[CentreProcess]:
    """A centre for the length of an ``async with``."""
    centre = CentreProcess(directory, broker, page)
    try:
        await centre.start()
        yield centre
    finally:
        await centre.stop()


class HallOnTheWire:
    """Sends what the centre has not acknowledged, in batches; begins again when asked."""

    def __init__(self, hall: str, texts: list[str], epoch: str = EPOCH) -> None:
        self.hall = hall
        self.texts = texts
        self.epoch = epoch
        self.acked = 0
        self.resends = 0
        self._sent = 0
        self._news = asyncio.Event()

    async def deliver(self, session: Session, batch: int = 50, pause: float = 0.0) -> None:
        """Return when everything is acknowledged. ``pause``: seconds between two batches."""
        await session.subscribe(topics.ack(self.hall))
        self._sent = self.acked
        reader = asyncio.create_task(self._listen(session))
        try:
            while self.acked < len(self.texts):
                self._news.clear()
                if self._sent < len(self.texts):
                    part = self.texts[self._sent : self._sent + batch]
                    self._sent += len(part)
                    await session.publish(topics.backlog(self.hall), backlog(part))
                    await asyncio.sleep(pause)
                    continue
                waiting = asyncio.create_task(self._news.wait())
                done, _ = await asyncio.wait(
                    (waiting, reader), timeout=5, return_when=asyncio.FIRST_COMPLETED
                )
                waiting.cancel()
                if reader in done:
                    await reader
                if not done:
                    self._sent = self.acked  # nothing came for long: it may be lost
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _listen(self, session: Session) -> None:
        async for message in session.messages():
            ack = Ack.model_validate_json(message.payload)
            if ack.epoch != self.epoch:
                continue
            self.acked = max(self.acked, ack.seq)
            if ack.resend:
                self.resends += 1
                self._sent = ack.seq
            self._news.set()

"""A real mosquitto on free ports, configured as in production, that can be stopped and killed."""

import asyncio
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from messaging.broker import Role, TlsListener, write_broker_config
from messaging.session import MqttConfig
from simulator.ports import free_ports

USERS: dict[str, tuple[str, Role]] = {
    "hall-a": ("secret-of-hall-a", Role.HALL),
    "hall-b": ("secret-of-hall-b", Role.HALL),
    "centre": ("secret-of-the-centre", Role.CENTRE),
    "dashboards": ("looking-on", Role.DASHBOARDS),
}


def mosquitto_path() -> str:
    """The broker's program. Debian keeps it out of the users' PATH."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise RuntimeError("mosquitto is not installed: apt-get install mosquitto")
    return found


class Broker:
    """A mosquitto process that keeps its ports and its data over stops and starts."""

    def __init__(
        self,
        directory: Path,
        users: Mapping[str, tuple[str, Role]] = USERS,
        tls: TlsListener | None = None,
    ) -> None:
        self.directory = directory
        self.users = users
        self.port, self.websocket_port = free_ports(0, 0)
        self.log = directory / "mosquitto.log"
        self._config = write_broker_config(directory, self.port, self.websocket_port, users, tls)
        self._process: subprocess.Popen[bytes] | None = None

    def client(self, user: str, *, client_id: str | None = None, protocol: int = 5) -> MqttConfig:
        """How ``user`` connects."""
        assert protocol in (5, 311)
        return MqttConfig(
            host="127.0.0.1",
            port=self.port,
            client_id=client_id or user,
            username=user,
            password=self.users[user][0],
            protocol=5 if protocol == 5 else 311,
        )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start, and return when it listens."""
        self._process = self._spawn()
        for port in (self.port, self.websocket_port):
            await self._listening(port)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [mosquitto_path(), "-c", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def _listening(self, port: int) -> None:
        async with asyncio.timeout(20):
            while True:
                assert self._process is not None
                if self._process.poll() is not None:
                    raise RuntimeError(f"mosquitto ended: {self.log.read_text()}")
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    await writer.wait_closed()
                    return

    async def stop(self) -> None:
        """A clean stop."""
        await self._end(signal.SIGTERM)

    async def kill9(self) -> None:
        """Death without warning."""
        await self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Alive, connected and silent."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(how)
            await asyncio.to_thread(self._process.wait, 20)
            self._process = None


@asynccontextmanager
async def running_broker(
    directory: Path,
    users: Mapping[str, tuple[str, Role]] = USERS,
    tls: TlsListener | None = None,
) -> AsyncIterator[Broker]:
    """A broker for the length of an ``async with``."""
    broker = Broker(directory, users, tls)
    try:
        await broker.start()
        yield broker
    finally:
        await broker.stop()

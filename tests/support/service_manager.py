"""systemd's end of the notification socket, for a daemon's parts in this process."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class ServiceManager:
    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)

    async def hear(self) -> bytes:
        """What it is told next; raises ``TimeoutError``."""
        async with asyncio.timeout(5):
            return await asyncio.get_running_loop().sock_recv(self.socket, 4096)

    def silent(self) -> bool:
        """Whether it has been told nothing since it last heard."""
        try:
            self.socket.recv(4096)
        except BlockingIOError:
            return True
        return False


@contextmanager
def service_manager(
    folder: Path, environment: pytest.MonkeyPatch, *, watchdog_seconds: float
) -> Iterator[ServiceManager]:
    """One that watches this process."""
    manager = ServiceManager(folder / "notify")
    environment.setenv("NOTIFY_SOCKET", str(folder / "notify"))
    environment.setenv("WATCHDOG_USEC", str(round(watchdog_seconds * 1_000_000)))
    environment.delenv("WATCHDOG_PID", raising=False)
    try:
        yield manager
    finally:
        manager.socket.close()

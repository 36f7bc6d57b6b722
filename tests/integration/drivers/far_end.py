"""What tests of drivers share: a serial adapter on a real pty, and waiting without guessing."""

import asyncio
import os
import pty
from collections.abc import Callable
from pathlib import Path

from contract.names import DeviceId, DeviceStatus

TIMEOUT = 10.0
"""Seconds; generous, a test machine may be loaded."""


class Plug:
    """A serial adapter that can be pulled and plugged in again; ``path`` stays the same."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "usb-serial")
        self._master: int | None = None
        self.plug_in()

    def plug_in(self) -> None:
        assert self._master is None
        master, slave = pty.openpty()
        os.set_blocking(master, False)
        fresh = f"{self.path}.new"
        os.symlink(os.ttyname(slave), fresh)
        os.replace(fresh, self.path)
        os.close(slave)
        self._master = master

    def pull(self) -> None:
        """The driver's side is hung up; the path dangles, as udev would remove it."""
        if self._master is not None:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            self._master = None
            os.unlink(self.path)

    @property
    def master(self) -> int:
        assert self._master is not None, "pulled"
        return self._master

    def send(self, data: bytes) -> None:
        assert os.write(self.master, data) == len(data)

    async def receive(self, size: int) -> bytes:
        """Exactly ``size`` bytes."""
        data = b""
        async with asyncio.timeout(TIMEOUT):
            while len(data) < size:
                await readable(self.master)
                data += self.take(size - len(data))
        return data

    def take(self, size: int) -> bytes:
        """What is there now, at most ``size``; nothing while the driver has the port closed."""
        try:
            return os.read(self.master, size)
        except BlockingIOError:
            return b""
        except OSError:  # EIO: no slave is open
            return b""


async def readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _set, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


class Statuses:
    """Status changes as they are reported, to be waited for."""

    def __init__(self) -> None:
        self.seen: list[DeviceStatus] = []
        self._news = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, device: DeviceId, status: DeviceStatus, detail: str) -> None:
        self.seen.append(status)
        task = asyncio.create_task(self._notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def reach(self, status: DeviceStatus) -> None:
        async with asyncio.timeout(TIMEOUT), self._news:
            await self._news.wait_for(lambda: bool(self.seen) and self.seen[-1] is status)


async def until(holds: Callable[[], bool]) -> None:
    """Looks again and again, for things that nobody announces."""
    async with asyncio.timeout(TIMEOUT):
        while not holds():
            await asyncio.sleep(0.01)

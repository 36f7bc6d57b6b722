"""What tests see of devices: presses and statuses as the hall gets them, under supervisors."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress

from contract.names import DeviceStatus
from edge.drivers.health import OncePerChange
from edge.drivers.roles import Device
from edge.drivers.supervisor import Supervisor

TIMEOUT = 30.0


class Log:
    """To be waited for."""

    def __init__(self) -> None:
        self.on_status = OncePerChange(self._note)
        """For devices and their supervisors."""
        self.statuses: list[tuple[str, DeviceStatus]] = []
        self.presses: list[tuple[str, str]] = []
        self._changed = asyncio.Event()

    def _note(self, device: str, status: DeviceStatus, detail: str) -> None:
        self.statuses.append((device, status))
        self._changed.set()

    def press_of(self, device: str) -> Callable[[str, float], None]:
        def on_press(key: str, at: float) -> None:
            self.presses.append((device, key))
            self._changed.set()

        return on_press

    def last(self, device: str) -> DeviceStatus | None:
        return next((status for name, status in reversed(self.statuses) if name == device), None)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def status(self, device: str, status: DeviceStatus) -> None:
        await self.until(lambda: self.last(device) is status)


@asynccontextmanager
async def supervised(devices: Iterable[Device], log: Log) -> AsyncIterator[None]:
    """Run devices under supervisors, whose word is heard beside theirs, as in the daemon."""
    tasks = [asyncio.create_task(Supervisor(device, log.on_status).run()) for device in devices]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

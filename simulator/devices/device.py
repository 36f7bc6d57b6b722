"""What all virtual devices have in common."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from simulator.devices.endpoint import Endpoint


class Observed(ABC):
    """Something of which people see a change."""

    def __init__(self) -> None:
        self._observers: list[Callable[[], None]] = []

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call this whenever ``snapshot`` would say something else. Any number of callbacks."""
        self._observers.append(callback)

    def _changed(self) -> None:
        for callback in self._observers:
            callback()

    @abstractmethod
    def snapshot(self) -> dict[str, Any]:
        """What a person sees now, ready for JSON."""


class Keys(Observed):
    """Something with numbered keys and fingers on them."""

    _CHATTER_SECONDS = 0.001
    """How long a bouncing contact stays closed or open."""

    @abstractmethod
    def hold(self, key: int) -> None:
        """A finger goes down on the key, until ``release``. More fingers change nothing."""

    @abstractmethod
    def release(self, key: int) -> None:
        """A finger goes up."""

    async def press(self, key: int, seconds: float = 0.1, *, bounce: float = 0.0) -> None:
        """Press the key for so long. ``bounce``: the contact chatters this long at both ends."""
        await self._chatter(key, bounce)
        await self._touch_for(key, seconds)
        await self._chatter(key, bounce)

    async def _chatter(self, key: int, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until:
            await self._touch_for(key, self._CHATTER_SECONDS)
            await asyncio.sleep(self._CHATTER_SECONDS)

    async def _touch_for(self, key: int, seconds: float) -> None:
        self.hold(key)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.release(key)


class VirtualDevice(Observed):
    """One device behind one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self.endpoint = endpoint
        endpoint.attach(self._receive)

    async def start(self) -> None:
        """Plug it in. Raises ``OSError`` where the pty or the port can't be had."""
        await self.endpoint.start()

    async def stop(self) -> None:
        """Unplug it for good and close everything it opened."""
        await self.endpoint.stop()

    def unplug(self) -> None:
        """Pull the cable. The daemon sees a hang-up."""
        self.endpoint.unplug()
        self._changed()

    def plug(self) -> None:
        """Plug the cable in again, at the same address."""
        self.endpoint.plug()
        self._changed()

    @abstractmethod
    def _receive(self, data: bytes) -> None:
        """Bytes came over the wire."""

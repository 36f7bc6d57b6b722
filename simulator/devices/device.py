"""What all virtual devices have in common."""

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

"""An endpoint without a wire: the test itself is the other end of a virtual device."""

from simulator.devices.endpoint import Endpoint


class NoWire(Endpoint):
    """``arrive`` gives bytes to the device; ``sent`` is what it sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()

    @property
    def url(self) -> str:
        return "none"

    def arrive(self, data: bytes) -> None:
        self._inward.feed(data)

    def _open(self) -> None:
        """There is nothing to open."""

    def _close(self) -> None:
        """Nor to close."""

    def _put(self, data: bytes) -> None:
        self.sent += data

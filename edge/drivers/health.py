"""How a device is, and what was counted on its wire."""

import logging
from collections import Counter
from collections.abc import Mapping

from contract.names import DeviceId, DeviceStatus
from edge.drivers.roles import StatusCallback

_log = logging.getLogger(__name__)


class OncePerChange:
    """A ``StatusCallback`` that passes on changes only, whoever of several reports them.

    Give one and the same to a device and to its supervisor: each alone doesn't know what the other
    said last, and so can't know what is news.
    """

    def __init__(self, on_status: StatusCallback) -> None:
        self._on_status = on_status
        self._last: dict[DeviceId, DeviceStatus] = {}

    def __call__(self, device: DeviceId, status: DeviceStatus, detail: str) -> None:
        if self._last.get(device) is not status:
            self._last[device] = status
            self._on_status(device, status, detail)


class DeviceHealth:
    """A driver's own view of its device: the status, and its counters.

    Every report is passed on; ``OncePerChange``, which ``on_status`` is in a hall, tells the news.
    """

    def __init__(self, device: DeviceId, on_status: StatusCallback) -> None:
        self.status = DeviceStatus.UNKNOWN
        self._device = device
        self._on_status = on_status
        self._known = False
        self._counts: Counter[str] = Counter()

    def report(self, status: DeviceStatus, detail: str = "") -> None:
        """Set the status. ``unknown`` before anything was known is no news."""
        if status is not self.status:
            # What people are told stands in the hall's log.
            _log.debug("%s: %s -> %s %s", self._device, self.status, status, detail)
        self.status = status
        if self._known or status is not DeviceStatus.UNKNOWN:
            self._known = True
            self._on_status(self._device, status, detail)

    def count(self, name: str, by: int = 1) -> None:
        self._counts[name] += by

    def counters(self) -> Mapping[str, int]:
        return dict(self._counts)

"""What the log says of the hall's devices: one line per change, in words, with what to do about it.

A cable of RS-485 that comes loose takes a dozen keypads with it; that is one thing that happened,
and one line, as is their coming back.
"""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence

from contract.names import DeviceId, DeviceStatus
from edge.drivers.gpio import NO_PINS
from edge.words import counted

log = logging.getLogger(__name__)

BACK_WITHIN_SECONDS = 3.0
"""A bus that opens has found all of its units that answer after this."""

_ERRNO = re.compile(r"\[Errno -?\d+\] ")
_OCTETS = re.compile(r"[0-9a-f]{2}( [0-9a-f]{2})*")
"""What a printer answered, as it came: for whoever has the manual open."""

_WORDS = {
    DeviceStatus.UNKNOWN: "is not known to be well",
    DeviceStatus.ONLINE: "is online",
    DeviceStatus.OFFLINE: "is offline",
    DeviceStatus.PAPER_LOW: "has little paper left",
    DeviceStatus.PAPER_OUT: "has no paper",
    DeviceStatus.COVER_OPEN: "has an open cover",
    DeviceStatus.FAULT: "has a fault",
    DeviceStatus.STUCK_KEY: "has a key that is held down",
}
_WHAT_NEXT = {
    DeviceStatus.OFFLINE: "Check its power and its cable; it is tried again by itself",
    DeviceStatus.PAPER_LOW: "Have a new roll at hand",
    DeviceStatus.PAPER_OUT: "Put in a new roll",
    DeviceStatus.COVER_OPEN: "Close it",
    DeviceStatus.STUCK_KEY: "Free the key; until then it is ignored",
}
_QUIET = frozenset({DeviceStatus.ONLINE, DeviceStatus.UNKNOWN})
_NOT_HERE = frozenset({DeviceStatus.OFFLINE, DeviceStatus.UNKNOWN})


class DeviceLog:
    """Tells every change once. Is called on the event loop's thread."""

    def __init__(self, units: Mapping[DeviceId, Sequence[DeviceId]]) -> None:
        """``units``: the devices on each bus."""
        self._units = units
        self._bus_of = {unit: bus for bus, on_it in units.items() for unit in on_it}
        self._here: set[DeviceId] = set()
        """Devices that answer, be it with a fault: of that they are told on their own."""
        self._down: set[DeviceId] = set()
        """Buses that are known to be away."""
        self._coming: dict[DeviceId, asyncio.TimerHandle] = {}
        """Buses that are open, and whose units are being found."""

    def changed(self, device: DeviceId, status: DeviceStatus, detail: str) -> None:
        """``device`` is ``status`` from now on, because of ``detail``."""
        log.debug("%s: %s %s", device, status, detail)
        (self._here.discard if status in _NOT_HERE else self._here.add)(device)
        if self._units.get(device):
            self._bus_changed(device, status, detail)
        elif not self._told_with_its_bus(device, status):
            _say(device, status, detail)

    def _bus_changed(self, bus: DeviceId, status: DeviceStatus, detail: str) -> None:
        if bus in self._coming:
            self._coming.pop(bus).cancel()
        if status is DeviceStatus.ONLINE:
            self._down.discard(bus)
            later = asyncio.get_running_loop().call_later
            self._coming[bus] = later(BACK_WITHIN_SECONDS, self._all_are_here, bus)
        else:
            self._down.add(bus)
            _say(bus, status, detail, f", and with it {', '.join(self._units[bus])}")

    def _told_with_its_bus(self, unit: DeviceId, status: DeviceStatus) -> bool:
        bus = self._bus_of.get(unit)
        if bus in self._coming and status in {DeviceStatus.ONLINE, DeviceStatus.OFFLINE}:
            if self._here.issuperset(self._units[bus]):
                self._all_are_here(bus)
            return True
        return bus in self._down and status is DeviceStatus.OFFLINE

    def _all_are_here(self, bus: DeviceId) -> None:
        """All that will be soon, at least."""
        self._coming.pop(bus).cancel()
        units = self._units[bus]
        missing = [unit for unit in units if unit not in self._here]
        many = "its " + counted(len(units), "unit")
        if not missing:
            log.info("%s is online, and with it %s", bus, many)
        else:
            log.warning(
                "%s is online, but of %s not %s. Check their power, wires and addresses; they are "
                "asked again by themselves",
                bus,
                many,
                ", ".join(missing),
            )


def _say(device: DeviceId, status: DeviceStatus, detail: str, more: str = "") -> None:
    readable = "" if _OCTETS.fullmatch(detail) else _ERRNO.sub("", detail)
    why = f": {readable}" if readable else ""
    # Pins have neither power nor a cable; why they are away says what to do.
    what_next = "" if detail.startswith(NO_PINS) else _WHAT_NEXT.get(status, "")
    log.log(
        logging.INFO if status in _QUIET else logging.WARNING,
        "%s",
        f"{device} {_WORDS[status]}{more}{why}" + (f". {what_next}" if what_next else ""),
    )

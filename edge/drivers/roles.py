"""What a device does in the hall, whatever wire it is on.

A driver fills one or more of these roles. The rules that hold for all of them:

- Nothing here raises because a device is away: absence is a status.
- Nothing here blocks the event loop; ``show`` and ``set_lamp`` return at once.
- Output keeps the latest wish: a device that comes back shows what is true now, no backlog.
- All methods are called from the event loop's thread, and callbacks arrive there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from contract.names import DeviceId, DeviceStatus, Language, TicketNumber, VoidReason

StatusCallback = Callable[[DeviceId, DeviceStatus, str], None]
"""(device, status, detail). A driver calls it whenever it learns how its device is, beginning with
the first known status, and after each (re)opening; the hall hears of changes only
(``health.OncePerChange``)."""

PressCallback = Callable[[str, float], None]
"""(key name, when it went down as far as the wire tells, in seconds of the event loop's time).
Called once per accepted press: debounced, and never for a stuck key."""


class Device(Protocol):
    """What every driver is, for its supervisor (``edge.drivers.supervisor``)."""

    id: DeviceId

    async def run(self) -> None:
        """Open the device, serve it until it fails or the task is cancelled, and close it.

        Raises ``OSError`` when the device can't be opened or is lost; the supervisor backs off
        and calls again. File descriptors are closed in ``finally``, on every way out.
        """
        ...

    def counters(self) -> Mapping[str, int]:
        """Health counters since start: ``frames_garbage``, ``frames_checksum``, ``reopened`` …"""
        ...


@dataclass(frozen=True, slots=True)
class Slip:
    """The content of one paper ticket; how it looks is the printer driver's work."""

    ticket_id: str
    number: TicketNumber
    hall_name: Mapping[Language, str]
    service_name: Mapping[Language, str]
    issued_at: datetime
    """In the hall's time zone."""
    ahead: int
    wait_minutes: tuple[int, int] | None
    """About, at most. ``None``: unknown."""
    languages: tuple[Language, ...]
    """In the order in which they are printed."""
    qr: str
    """Text behind the QR code."""
    reprint: bool = False


class Printed(StrEnum):
    """How a print job ended."""

    PRINTED = "printed"
    """The printer said that all of it is on paper."""
    FAILED = "failed"
    """The job is given up, and whatever of it is still in the printer is cleared as soon as that
    can be reached. No proof that there is no paper: half a ticket may hang in the slot, and with
    ``VoidReason.UNCONFIRMED`` nobody can tell whether a whole one came out."""


@dataclass(frozen=True, slots=True)
class PrintOutcome:
    result: Printed
    reason: VoidReason | None = None
    """Why it failed; ``None`` where it did not."""


class TicketPrinter(Device, Protocol):
    """Prints slips one after the other and tells the truth about each."""

    def available(self) -> DeviceStatus:
        """Whether a press now would become paper: ``online`` and ``paper_low`` do."""
        ...

    def expect_scrap(self) -> None:
        """Half a ticket may hang in the slot, from a job that the controller did not live to see
        the end of: cut it off and mark it before anything else is printed."""
        ...

    async def print_slip(self, slip: Slip, time_to_live_seconds: float) -> PrintOutcome:
        """Print, and return when the paper is really out or never will be.

        Silence is not failure: the printer is asked for its status, and the job waits for paper
        until its time to live is over. Then it is cleared from the printer's memory and failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class ScreenLine:
    """What one window screen shows."""

    text: str
    colour: str = "red"
    """``red``, ``green`` or ``yellow``, where the screen has them."""
    blink: bool = False


class CallScreen(Device, Protocol):
    """A one-line screen above a window."""

    def show(self, line: ScreenLine) -> None:
        """Show this from now on, also after the screen was away."""
        ...


class LampPattern(StrEnum):
    OFF = "off"
    ON = "on"
    BLINK = "blink"
    """Until set otherwise, 0.5 s on, 0.5 s off."""
    FLASH = "flash"
    """Once, for 0.3 s, and for longer by as much for each that is set meanwhile; then what it was
    before."""


class Keypad(Device, Protocol):
    """Keys and lamps that belong together: a dispenser's buttons, a caller, an evaluator.

    Key and lamp names come from the configuration (``call_next``, ``very_satisfied``,
    ``payment`` …, ``accepted``, ``refused`` …).
    """

    def on_press(self, callback: PressCallback) -> None:
        """Call this on every press. One callback; a second call replaces the first."""
        ...

    def lamps(self) -> frozenset[str]:
        """Names of the lamps that are wired."""
        ...

    def set_lamp(self, lamp: str, pattern: LampPattern) -> None:
        """Set a lamp. A lamp that is not wired is no error and does nothing."""
        ...

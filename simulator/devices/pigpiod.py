"""A Raspberry Pi's pins behind the pigpio daemon's socket: wired keys and lamps.

A request is 16 bytes, four little-endian u32: command, p1, p2, and p3 as the length of an
extension that follows; the reply repeats the first three and carries the result, negative for an
error. A connection that asked for it (NOIB) also gets a 12-byte report (u16 number, u16 flags,
u32 tick, u32 levels of GPIO 0 to 31) whenever a pin changes that it watches (NB). Source: the
pigpio socket interface documentation and the client library's constants.
"""

import asyncio
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from simulator.devices.device import Keys
from simulator.devices.endpoint import ByteStream, TcpListener

PI_4B_4GB = 0xC03114
"""Hardware revision: a Pi 4 Model B, 4 GB, board 1.4. pigpio doesn't know the Pi 5."""
PIGPIO_VERSION = 79

GPIO_COUNT = 54
USER_GPIO_COUNT = 32
HISTORY_KEPT = 200
MAX_EXTENSION_BYTES = 1 << 16
MAX_HANDLES = 32

INPUT, OUTPUT = 0, 1
PULL_OFF, PULL_DOWN, PULL_UP = 0, 1, 2

BAD_USER_GPIO = -2
BAD_GPIO = -3
BAD_MODE = -4
BAD_LEVEL = -5
BAD_PUD = -6
BAD_DUTYCYCLE = -8
BAD_DUTYRANGE = -21
NO_HANDLE = -24
BAD_HANDLE = -25
UNKNOWN_COMMAND = -88
NOT_PWM_GPIO = -92
BAD_FILTER = -125

_REQUEST = struct.Struct("<IIII")
_REPLY = struct.Struct("<IIIi")
_REPORT = struct.Struct("<HHII")
_UNSIGNED_RESULTS = frozenset({10, 11, 16})
"""BR1, BR2 and TICK answer with 32 bits, not with a signed number."""


@dataclass(frozen=True, slots=True)
class PinChange:
    """An output pin was switched. ``at`` is ``loop.time()``."""

    at: float
    pin: int
    level: bool


@dataclass(slots=True)
class _Pin:
    number: int
    mode: int = INPUT
    pull: int = PULL_OFF
    latch: bool = False
    """What the output drives, also remembered while the pin is an input."""
    driven: bool | None = None
    """What a key outside puts on the wire; ``None``: an open contact."""
    stuck: bool | None = None
    rest: bool | None = None
    """Where a real resistor holds an open contact, if the board has one here."""
    steady_us: int = 0
    reported: bool = False
    """The level after the glitch filter, as the clients know it."""
    filter_timer: asyncio.TimerHandle | None = None
    pwm_duty: int | None = None
    pwm_range: int = 255
    pwm_frequency: int = 800

    @property
    def level(self) -> bool:
        if self.mode != INPUT:
            return self.latch
        if self.stuck is not None:
            return self.stuck
        if self.driven is not None:
            return self.driven
        if self.rest is not None:
            return self.rest
        return self.pull == PULL_UP


@dataclass(slots=True, eq=False)
class _Client:
    stream: ByteStream
    buffer: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class _Watch:
    """A notification handle."""

    client: _Client
    bits: int = 0
    sequence: int = 0


class _PigpioError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class VirtualPigpiod(Keys):
    """The Pi. Keys are wired to ground (``active_low``) or to 3.3 V; any number of clients.

    ``resistors``: pins where the board holds an open contact at rest. On the others only the
    pull that a client sets does, and pigpio's client then misses the first edge after it set
    one (its issue 385): it still believes the level from before.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        active_low: bool = True,
        resistors: Iterable[int] = (),
        revision: int = PI_4B_4GB,
    ) -> None:
        super().__init__()
        self.history: deque[PinChange] = deque(maxlen=HISTORY_KEPT)
        self.counters: Counter[str] = Counter()
        """``commands``, ``commands_unknown``, ``reports``, ``clients``, ``clients_stuck``."""
        self._active_low = active_low
        self._revision = revision
        self._listener = TcpListener(host, port, self._connected)
        self._plugged = False
        self._pins = [_Pin(number, pull=_pull_at_boot(number)) for number in range(GPIO_COUNT)]
        for number in resistors:
            self._pins[number].rest = active_low
        for pin in self._pins:
            pin.reported = pin.level
        self._fingers: Counter[int] = Counter()
        self._clients: set[_Client] = set()
        self._watches: dict[int, _Watch] = {}
        self._output_watchers: list[Callable[[PinChange], None]] = []

    # Cable and power

    @property
    def host(self) -> str:
        return self._listener.host

    @property
    def port(self) -> int:
        """With port 0 known only after ``start``."""
        return self._listener.port

    @property
    def url(self) -> str:
        return f"socket://{self.host}:{self.port}"

    @property
    def plugged(self) -> bool:
        return self._plugged

    async def start(self) -> None:
        """Listen. Raises ``OSError`` when the port is taken."""
        self.plug()

    async def stop(self) -> None:
        self.unplug()
        for pin in self._pins:
            if pin.filter_timer is not None:
                pin.filter_timer.cancel()
                pin.filter_timer = None

    def plug(self) -> None:
        if not self._plugged:
            self._listener.open()
            self._plugged = True
            self._changed()

    def unplug(self) -> None:
        """The daemon on the Pi died, or the network to it: all connections end."""
        if self._plugged:
            self._plugged = False
            self._listener.close()
            for client in list(self._clients):
                self._forget(client)
            self._changed()

    def end_reports(self) -> None:
        """The connections that bring reports end; those of commands live on."""
        for client in {watch.client for watch in self._watches.values()}:
            self._forget(client)

    # What people do and see

    def level(self, pin: int) -> bool:
        """The level on the wire now."""
        return self._pins[pin].level

    def is_output(self, pin: int) -> bool:
        return self._pins[pin].mode == OUTPUT

    def on_output(self, callback: Callable[[PinChange], None]) -> None:
        """Call this with every change of a pin that is driven by a client."""
        self._output_watchers.append(callback)

    def hold(self, key: int) -> None:
        """A finger goes down on the key at this pin, until ``release``."""
        self._fingers[key] += 1
        self._touched(key)

    def release(self, key: int) -> None:
        self._fingers[key] = max(0, self._fingers[key] - 1)
        self._touched(key)

    def stick(self, key: int, pressed: bool = True) -> None:
        """The key is stuck, down or up, whatever fingers do."""
        self._set_stuck(key, pressed != self._active_low)

    def unstick(self, key: int) -> None:
        self._set_stuck(key, None)

    def snapshot(self) -> dict[str, Any]:
        """Pins that somebody uses: ``{"17": {"mode", "level", "pull", "pressed", "stuck"}}``."""
        return {
            "kind": "pigpiod",
            "url": self.url,
            "plugged": self._plugged,
            "clients": len(self._clients),
            "pins": {
                str(pin.number): {
                    "mode": "input" if pin.mode == INPUT else "output",
                    "level": pin.level,
                    "pull": ("off", "down", "up")[pin.pull],
                    "pressed": self._fingers[pin.number] > 0,
                    "stuck": pin.stuck is not None,
                }
                for pin in self._pins
                if pin.mode != INPUT
                or pin.stuck is not None
                or self._fingers[pin.number]
                or any(watch.bits >> pin.number & 1 for watch in self._watches.values())
            },
            "counters": dict(self.counters),
        }

    def _touched(self, number: int) -> None:
        pin = self._pins[number]
        before = pin.level
        pin.driven = (not self._active_low) if self._fingers[number] else None
        self._level_may_have_changed(pin, before)
        self._changed()

    def _set_stuck(self, number: int, level: bool | None) -> None:
        pin = self._pins[number]
        before = pin.level
        pin.stuck = level
        self._level_may_have_changed(pin, before)
        self._changed()

    # Levels and reports

    def _level_may_have_changed(self, pin: _Pin, before: bool) -> None:
        if pin.level == before:
            return
        if pin.mode == OUTPUT:
            change = PinChange(asyncio.get_running_loop().time(), pin.number, pin.level)
            self.history.append(change)
            for watcher in self._output_watchers:
                watcher(change)
            self._changed()
        if pin.filter_timer is not None:
            pin.filter_timer.cancel()
            pin.filter_timer = None
        if pin.steady_us:
            loop = asyncio.get_running_loop()
            pin.filter_timer = loop.call_later(pin.steady_us / 1e6, self._report, pin)
        else:
            self._report(pin)

    def _report(self, pin: _Pin) -> None:
        """Tell the level to who watches this pin, if it is news."""
        pin.filter_timer = None
        if pin.reported == pin.level or pin.number >= USER_GPIO_COUNT:
            return
        pin.reported = pin.level
        levels = sum(p.reported << p.number for p in self._pins[:USER_GPIO_COUNT])
        for watch in list(self._watches.values()):
            if watch.bits >> pin.number & 1:
                report = _REPORT.pack(watch.sequence, 0, self._tick(), levels)
                watch.sequence = (watch.sequence + 1) & 0xFFFF
                self.counters["reports"] += 1
                self._send(watch.client, report)

    @staticmethod
    def _tick() -> int:
        """Microseconds, 32 bits; wraps every 71.6 minutes."""
        return int(asyncio.get_running_loop().time() * 1e6) & 0xFFFFFFFF

    # The socket protocol

    def _connected(self, connection: socket.socket) -> None:
        self.counters["clients"] += 1

        def received(data: bytes) -> None:
            self._receive(client, data)

        def gone() -> None:
            self._forget(client)

        client = _Client(ByteStream(connection.detach(), received, gone))
        self._clients.add(client)
        self._changed()

    def _forget(self, client: _Client) -> None:
        client.stream.close()
        self._clients.discard(client)
        for handle in [h for h, watch in self._watches.items() if watch.client is client]:
            del self._watches[handle]
        self._changed()

    def _receive(self, client: _Client, data: bytes) -> None:
        client.buffer += data
        while len(client.buffer) >= _REQUEST.size and not client.stream.closed:
            command, p1, p2, p3 = _REQUEST.unpack_from(client.buffer)
            if p3 > MAX_EXTENSION_BYTES:
                self._forget(client)
                return
            size = _REQUEST.size + p3
            if len(client.buffer) < size:
                return
            del client.buffer[:size]
            self.counters["commands"] += 1
            try:
                result = self._command(client, command, p1, p2)
            except _PigpioError as error:
                result = error.code
            if command in _UNSIGNED_RESULTS:
                reply = _REQUEST.pack(command, p1, p2, result)
            else:
                reply = _REPLY.pack(command, p1, p2, result)
            self._send(client, reply)

    def _send(self, client: _Client, data: bytes) -> None:
        """To a client that takes nothing any more, a half report would be worse than the end."""
        client.stream.write(data)
        if client.stream.bytes_dropped:
            self.counters["clients_stuck"] += 1
            self._forget(client)

    def _command(self, client: _Client, command: int, p1: int, p2: int) -> int:  # noqa: C901, PLR0912 - a table of the protocol
        match command:
            case 0:  # MODES
                return self._set_mode(_checked(p1, GPIO_COUNT, BAD_GPIO), p2)
            case 1:  # MODEG
                return self._pin(p1).mode
            case 2:  # PUD
                return self._set_pull(self._pin(p1), p2)
            case 3:  # READ
                return int(self._pin(p1).level)
            case 4:  # WRITE
                return self._write(self._pin(p1), p2)
            case 5:  # PWM
                return self._set_pwm(self._user_pin(p1), p2)
            case 6:  # PRS
                return self._set_pwm_range(self._user_pin(p1), p2)
            case 7:  # PFS
                self._user_pin(p1).pwm_frequency = p2
                return p2
            case 10:  # BR1
                return sum(pin.level << pin.number for pin in self._pins[:32])
            case 11:  # BR2
                return sum(pin.level << pin.number - 32 for pin in self._pins[32:])
            case 16:  # TICK
                return self._tick()
            case 17:  # HWVER
                return self._revision
            case 19:  # NB
                self._watch(p1).bits = p2
                self._changed()
                return 0
            case 20:  # NP
                self._watch(p1).bits = 0
                return 0
            case 21:  # NC
                self._watch(p1)
                del self._watches[p1]
                return 0
            case 22:  # PRG
                return self._user_pin(p1).pwm_range
            case 23:  # PFG
                return self._user_pin(p1).pwm_frequency
            case 24:  # PRRG
                return 250
            case 26:  # PIGPV
                return PIGPIO_VERSION
            case 83:  # GDC
                return self._pwm_duty(self._user_pin(p1))
            case 97:  # FG
                if p2 > 300_000:
                    raise _PigpioError(BAD_FILTER)
                self._user_pin(p1).steady_us = p2
                return 0
            case 99:  # NOIB
                return self._new_watch(client)
            case _:
                self.counters["commands_unknown"] += 1
                raise _PigpioError(UNKNOWN_COMMAND)

    def _pin(self, number: int) -> _Pin:
        return self._pins[_checked(number, GPIO_COUNT, BAD_GPIO)]

    def _user_pin(self, number: int) -> _Pin:
        return self._pins[_checked(number, USER_GPIO_COUNT, BAD_USER_GPIO)]

    def _watch(self, handle: int) -> _Watch:
        try:
            return self._watches[handle]
        except KeyError:
            raise _PigpioError(BAD_HANDLE) from None

    def _new_watch(self, client: _Client) -> int:
        for handle in range(MAX_HANDLES):
            if handle not in self._watches:
                self._watches[handle] = _Watch(client)
                return handle
        raise _PigpioError(NO_HANDLE)

    def _set_mode(self, number: int, mode: int) -> int:
        if mode > 7:
            raise _PigpioError(BAD_MODE)
        pin = self._pins[number]
        if mode != pin.mode:
            before = pin.level
            pin.mode = mode
            pin.pwm_duty = None
            self._level_may_have_changed(pin, before)
            self._changed()
        return 0

    def _set_pull(self, pin: _Pin, pull: int) -> int:
        if pull > PULL_UP:
            raise _PigpioError(BAD_PUD)
        if pin.number not in (2, 3):  # these two have real resistors on the board
            before = pin.level
            pin.pull = pull
            self._level_may_have_changed(pin, before)
        return 0

    def _write(self, pin: _Pin, level: int) -> int:
        if level > 1:
            raise _PigpioError(BAD_LEVEL)
        pin.pwm_duty = None
        self._drive(pin, bool(level))
        return 0

    def _drive(self, pin: _Pin, level: bool) -> None:
        before = pin.level
        pin.mode = OUTPUT
        pin.latch = level
        self._level_may_have_changed(pin, before)

    def _set_pwm(self, pin: _Pin, duty: int) -> int:
        """A lamp that is dimmed counts as on."""
        if duty > pin.pwm_range:
            raise _PigpioError(BAD_DUTYCYCLE)
        self._drive(pin, duty > 0)
        pin.pwm_duty = duty
        return 0

    @staticmethod
    def _set_pwm_range(pin: _Pin, steps: int) -> int:
        if not 25 <= steps <= 40_000:
            raise _PigpioError(BAD_DUTYRANGE)
        pin.pwm_range = steps
        return 250

    @staticmethod
    def _pwm_duty(pin: _Pin) -> int:
        if pin.pwm_duty is None:
            raise _PigpioError(NOT_PWM_GPIO)
        return pin.pwm_duty


def _checked(number: int, limit: int, error: int) -> int:
    if number >= limit:
        raise _PigpioError(error)
    return number


def _pull_at_boot(number: int) -> int:
    """GPIO 0 to 8 are pulled up after a reset, the rest down (BCM2711 peripherals, 5.2)."""
    return PULL_UP if number <= 8 else PULL_DOWN

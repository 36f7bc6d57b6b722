"""GPIO pins over a socket: gpiozero's pigpio factory, on a client that survives a lost daemon.

pigpio's own client was written for a daemon that never goes away: its calls have no time-out, its
report thread spins at 100 % CPU once the far end has closed, a refused connection is a banner on
standard output, and what a pin was before the first report is only guessed, which loses the first
press of a key whose pull resistor is set after connecting. So connecting and reports are ours, and
pigpio's commands run on them.

Neither library lets a connection be handed in. So their two constructors are passed over, and what
these would have set is set here: in gpiozero's factory ``pin_class``, ``_connection``, ``_host``,
``_port`` and ``_spis``, in pigpio's client ``connected`` and ``sl``, the socket ``s`` with its lock
``l`` on which each command runs. Everything else goes by public methods. That is the inside of
pigpio 1.78, its last release, to which the extra is pinned, and of gpiozero 2.0;
``test_pigpio_pins`` fails where theirs becomes another.

Source of the bytes: the pigpio socket interface.
"""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pigpio
from gpiozero.pins.pi import PiFactory
from gpiozero.pins.pigpio import PiGPIOFactory, PiGPIOPin

_SECONDS = 2.0
"""For connecting, and for each answer."""
_COMMAND = struct.Struct("<4I")
"""Command, two parameters, and a length; in the answer the last is the result."""
_OPEN_REPORTS = 99
_REPORT = struct.Struct("<HHII")
"""Sequence number, flags (0: levels changed), microseconds, levels of GPIO 0 to 31."""

OnChange = Callable[[int, int, int], None]
"""(gpio, level, tick). Called on the reports' thread."""


class PigpioPins(PiGPIOFactory):  # type: ignore[misc] # gpiozero has no types
    """Pins of the daemon at ``host:port``. Raises ``OSError`` when none answers there."""

    def __init__(self, host: str, port: int) -> None:
        PiFactory.__init__(self)  # not PiGPIOFactory's: it connects with pigpio's own client
        self.pin_class = PiGPIOPin
        self._host = host
        self._port = port
        self._spis: list[Any] = []
        self._connection = _Client(host, port)

    def sever(self) -> None:
        """Cut the connection: whoever is blocked in a call gets an error. From any thread."""
        if self._connection is not None:
            self._connection.sever()

    def discard(self) -> None:
        """After ``sever``, when nobody is in a call any more: closing pins says nothing to the
        lost daemon."""
        if self._connection is not None:
            self._connection.stop()


class _Wire:
    """Socket and lock of pigpio's commands, by the names under which these look for them."""

    def __init__(self, sock: socket.socket) -> None:
        self.s: socket.socket | None = sock
        """``None``: closed, for gpiozero."""
        self.l = threading.Lock()


class _Client(pigpio.pi):  # type: ignore[misc] # pigpio has no types
    """pigpio's commands, on connections of ours."""

    def __init__(self, host: str, port: int) -> None:
        # pigpio's constructor is what this class is in place of.
        sock = _connect(host, port)
        self.connected = True
        self.sl = _Wire(sock)
        try:
            self._reports = _Reports(self, _connect(host, port))
        except BaseException:
            sock.close()
            raise

    def callback(
        self, user_gpio: int, edge: int = pigpio.RISING_EDGE, func: OnChange | None = None
    ) -> "_Callback":
        """pigpio's: from now on, level changes of this pin are told, until ``cancel``."""
        callback = _Callback(self._reports, user_gpio, edge, func or _ignore)
        self._reports.append(callback)
        return callback

    def stop(self) -> None:
        """pigpio's: close the connections."""
        self.connected = False
        self._reports.stop()
        if self.sl.s is not None:
            self.sl.s.close()
            self.sl.s = None

    def sever(self) -> None:
        """Whoever is blocked in a call gets an error. From any thread."""
        self.sever_commands()
        _shut(self._reports.sock)

    def sever_commands(self) -> None:
        """The one that is waited for fails, and so do all to come. From any thread."""
        sock = self.sl.s
        if sock is not None:
            _shut(sock)


@dataclass(frozen=True, eq=False, slots=True)
class _Callback:
    """A pin that is watched."""

    reports: "_Reports"
    gpio: int
    edge: int
    """0 rising, 1 falling, 2 both."""
    func: OnChange

    @property
    def bit(self) -> int:
        return 1 << self.gpio

    def cancel(self) -> None:
        """Called by gpiozero."""
        self.reports.remove(self)


def _ignore(gpio: int, level: int, tick: int) -> None:
    pass


class _Reports(threading.Thread):
    """Level changes as the daemon reports them, on a socket and a thread of their own."""

    def __init__(self, client: _Client, sock: socket.socket) -> None:
        super().__init__(name="pigpio-reports", daemon=True)
        self.sock = sock
        self._client = client
        self._callbacks: list[_Callback] = []
        self._levels = 0
        # Not _handle: that is the thread's own since Python 3.13.
        try:
            sock.sendall(_COMMAND.pack(_OPEN_REPORTS, 0, 0, 0))
            self._report_handle = _COMMAND.unpack(_receive(sock, _COMMAND.size))[3]
        except BaseException:
            sock.close()
            raise
        sock.settimeout(None)
        self.start()

    def append(self, callback: _Callback) -> None:
        levels = self._client.read_bank_1()
        self._levels = self._levels & ~callback.bit | levels & callback.bit
        self._callbacks = [*self._callbacks, callback]
        self._watch()

    def remove(self, callback: _Callback) -> None:
        self._callbacks = [known for known in self._callbacks if known is not callback]
        self._watch()

    def _watch(self) -> None:
        bits = 0
        for callback in self._callbacks:
            bits |= callback.bit
        self._client.notify_begin(self._report_handle, bits)

    def stop(self) -> None:
        _shut(self.sock)
        self.join(_SECONDS)

    def run(self) -> None:
        try:
            while True:
                _, flags, tick, levels = _REPORT.unpack(_receive(self.sock, _REPORT.size))
                if flags == 0:
                    self._changed(levels, tick)
        except OSError:
            pass  # lost or stopped; whoever uses the pins finds that the commands fail, see below
        finally:
            self.sock.close()
            # This connection can end alone. Pins that answer, and whose taps nobody reports,
            # would pass for well for ever.
            self._client.sever_commands()

    def _changed(self, levels: int, tick: int) -> None:
        changed = levels ^ self._levels
        self._levels = levels
        for callback in self._callbacks:
            level = int(levels & callback.bit != 0)
            if changed & callback.bit and callback.edge ^ level:
                callback.func(callback.gpio, level, tick)


def _connect(host: str, port: int) -> socket.socket:
    sock = socket.create_connection((host, port), _SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return sock


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):  # it is down already
        sock.shutdown(socket.SHUT_RDWR)


def _receive(sock: socket.socket, size: int) -> bytes:
    """Exactly so many bytes. Raises ``OSError``."""
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise ConnectionError("the pigpio daemon hung up")
        data += more
    return data

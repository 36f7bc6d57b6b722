"""GPIO pins over a socket: gpiozero's pigpio factory, made to notice and survive a lost daemon.

pigpio's client was written for a daemon that never goes away. Its calls have no time-out, its
notification thread spins at 100 % CPU once the far end has closed, and a failed connection is a
banner on standard output. So: ask first whether a daemon answers, and on a loss cut both of its
sockets, which ends the blocked call and the thread. The attributes used here are those of pigpio
1.78, its last release.
"""

import atexit
import socket
import struct
from contextlib import suppress

from gpiozero.pins.pigpio import PiGPIOFactory

_CONNECT_SECONDS = 2.0
_READ_BANK_1 = struct.pack("<4I", 10, 0, 0, 0)
"""A command without effect (pigpio's socket protocol: command, two parameters, length)."""


class PigpioPins(PiGPIOFactory):  # type: ignore[misc] # gpiozero has no types
    """Raises ``OSError`` when no daemon answers at ``host:port``."""

    def __init__(self, host: str, port: int) -> None:
        _ask(host, port)
        super().__init__(host, port)

    def sever(self) -> None:
        """Cut the connection: whoever is blocked in a call gets an error. From any thread."""
        connection = self._connection
        if connection is None:
            return
        if connection._notify is not None:
            connection._notify.go = False  # ends its thread, which then closes its socket
            _shut(connection._notify.sl.s)
        _shut(connection.sl.s)

    def discard(self) -> None:
        """After ``sever``, when nobody is in a call any more: closing pins says nothing to the
        lost daemon."""
        connection = self._connection
        if connection is None:
            return
        connection._notify = None
        if connection.sl.s is not None:
            connection.sl.s.close()
            connection.sl.s = None

    def close(self) -> None:
        connection = self._connection
        if connection is None:
            return
        notifications = connection._notify
        super().close()
        atexit.unregister(connection.stop)  # else every reconnect stays in memory
        if notifications is not None:
            _shut(notifications.sl.s)  # its thread waits for a last word that may never come


def _ask(host: str, port: int) -> None:
    """One command and its answer, with a time-out."""
    with socket.create_connection((host, port), _CONNECT_SECONDS) as sock:
        sock.sendall(_READ_BANK_1)
        answer = b""
        while len(answer) < len(_READ_BANK_1):
            data = sock.recv(len(_READ_BANK_1) - len(answer))
            if not data:
                raise ConnectionError(f"no pigpio daemon at {host}:{port}: it hung up")
            answer += data


def _shut(sock: socket.socket | None) -> None:
    if sock is not None:
        with suppress(OSError):  # it is down already
            sock.shutdown(socket.SHUT_RDWR)

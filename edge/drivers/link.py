"""The thin byte transport under every wire driver: serial port, TCP socket, printer device.

A link moves bytes on one file descriptor without blocking and says when the far end is gone.
It knows nothing of frames, and it never reopens itself: that is the supervisor's work.
"""

import asyncio
import errno
import os
import socket
import stat
import termios
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Protocol
from urllib.parse import urlsplit

import serial
from pydantic import AfterValidator, Field

MAX_QUEUED_BYTES = 256 * 1024
"""What may wait for the OS to take it; more means that the far end no longer listens."""

CONNECT_SECONDS = 5.0

_READ_BYTES = 1024
"""Taken from the OS in one turn of the event loop, and buffered at most twice over. A far end that
floods its port waits for its next turn like everybody else."""
_PRINTER_MAJORS = frozenset({6, 180})
"""``/dev/lp*`` and ``/dev/usb/lp*`` (the kernel's list of device numbers): no terminals."""


class LinkLost(OSError):
    """The far end is gone: end of file, hang-up, unplugged, refused, or closed by ourselves."""


class LinkFull(OSError):
    """Too much is queued already; nothing of this write was taken."""


class Link(Protocol):
    """A byte stream to one device. One task reads; anybody on the event loop may write."""

    async def read(self, until: float | None = None) -> bytes:
        """At least one byte; none where nothing came ``until`` then, in the event loop's time.

        What was received before a loss is given first. Raises ``LinkLost``. Cancelling it loses
        no bytes. Who reads in a loop keeps nobody else from the event loop.
        """
        ...

    def write(self, data: bytes) -> None:
        """Queue all of it, in order. Raises ``LinkFull`` (nothing is taken), ``LinkLost``."""
        ...

    async def drain(self) -> None:
        """Return when the OS took all that was written. Raises ``LinkLost``.

        Bytes that the OS took can still be in a buffer on this side of the wire: only an answer
        of the device proves that they arrived.
        """
        ...

    def close(self) -> None:
        """Close the descriptor and wake who waits with ``LinkLost``. Idempotent.

        Bytes that are not yet on the wire are dropped: a serial driver of the kernel would
        otherwise hold the whole event loop for up to 30 s while a dead device takes none.
        """
        ...


def check_port(url: str) -> str:
    """``url`` itself when ``open_link`` can make sense of it. Raises ``ValueError``."""
    if "://" not in url:
        if not url.startswith("/"):
            raise ValueError(f"{url!r} is no device path; right would be {_EXAMPLES}")
        return url
    _host_and_port(url)
    return url


Port = Annotated[
    str, AfterValidator(check_port), Field(examples=["/dev/serial/by-id/usb-FTDI-if00"])
]
"""The ``port`` of a driver's configuration: a device path or ``socket://host:port``."""

_EXAMPLES = "'/dev/serial/by-id/usb-…', '/dev/usb/lp0' or 'socket://192.0.2.7:9100'"


async def open_link(url: str, *, baud: int = 9600) -> Link:
    """Open a serial port (8N1, by-id paths recommended), a printer device or a TCP connection.

    ``baud`` counts for serial ports only. Raises ``OSError`` when it can't be opened (busy,
    absent, refused, no answer within ``CONNECT_SECONDS``) and ``ValueError`` when ``url`` makes
    no sense.
    """
    check_port(url)
    if "://" in url:
        return await _open_tcp(*_host_and_port(url))
    if _is_printer_device(url):
        fd = os.open(url, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        return FdLink(fd, lambda: os.close(fd))
    return await _open_serial(url, baud)


class FdLink:
    """A ``Link`` on any pollable descriptor that is already non-blocking."""

    def __init__(self, fd: int, close: Callable[[], None]) -> None:
        self._fd = fd
        self._close = close
        self._loop = asyncio.get_running_loop()
        self._incoming = bytearray()
        self._paused = False
        """More is there than we take now."""
        self._outgoing = bytearray()
        self._reader: asyncio.Future[None] | None = None
        self._drainers: list[asyncio.Future[None]] = []
        self._lost: LinkLost | None = None
        self._closed = False
        # For the link's whole life: to watch a descriptor anew for each read costs more than
        # the read.
        self._loop.add_reader(fd, self._receive)

    async def read(self, until: float | None = None) -> bytes:
        if self._reader is not None:
            raise RuntimeError("two tasks read one link")
        if self._closed or not self._incoming:
            self._check()
            await self._news(until)
            if self._closed or not self._incoming:
                self._check()
        data = bytes(self._incoming)
        self._incoming.clear()
        if self._paused and self._lost is None:
            self._paused = False
            self._loop.add_reader(self._fd, self._receive)
        return data

    async def _news(self, until: float | None) -> None:
        """Return when something was received, or lost, or it is ``until``."""
        self._reader = self._loop.create_future()
        timer = None if until is None else self._loop.call_at(until, _wake, self._reader)
        try:
            await self._reader
        finally:
            self._reader = None
            if timer is not None:
                timer.cancel()

    def _receive(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error.errno, f"read: {error.strerror}")
            return
        if not data:
            self._lose(errno.EPIPE, "the far end hung up")
            return
        self._incoming += data
        if len(self._incoming) >= _READ_BYTES:
            self._paused = True
            self._loop.remove_reader(self._fd)
        if self._reader is not None:
            _wake(self._reader)

    def write(self, data: bytes) -> None:
        self._check()
        if len(self._outgoing) + len(data) > MAX_QUEUED_BYTES:
            raise LinkFull(
                errno.ENOBUFS, f"{len(self._outgoing)} bytes wait for a far end that takes none"
            )
        idle = not self._outgoing
        self._outgoing += data
        if idle and data:
            self._send()
            if self._outgoing:
                self._loop.add_writer(self._fd, self._send_rest)

    def _send_rest(self) -> None:
        self._send()
        if not self._outgoing and self._lost is None:
            self._loop.remove_writer(self._fd)

    def _send(self) -> None:
        try:
            sent = os.write(self._fd, self._outgoing)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error.errno, f"write: {error.strerror}")
            return
        del self._outgoing[:sent]
        if not self._outgoing:
            self._wake_drainers()

    async def drain(self) -> None:
        while self._outgoing and self._lost is None:
            waiter = self._loop.create_future()
            self._drainers.append(waiter)
            await waiter
        self._check()

    def close(self) -> None:
        if self._closed:
            return
        self._lose(errno.EBADF, "closed")
        self._closed = True
        self._close()

    def _check(self) -> None:
        if self._lost is not None:
            raise LinkLost(*self._lost.args)

    def _lose(self, number: int | None, why: str) -> None:
        """Note the loss, once, and wake everybody who waits."""
        if self._lost is not None:
            return
        self._lost = LinkLost(number, why)
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._outgoing.clear()
        self._wake_drainers()
        if self._reader is not None:
            _wake(self._reader)

    def _wake_drainers(self) -> None:
        for waiter in self._drainers:
            _wake(waiter)
        self._drainers.clear()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)  # raises ValueError for a broken address
    if parts.scheme != "socket" or not parts.hostname or not parts.port or parts.path:
        raise ValueError(f"{url!r} is no port; right would be {_EXAMPLES}")
    return parts.hostname, parts.port


def _is_printer_device(path: str) -> bool:
    status = os.stat(path)  # follows the links of /dev/serial/by-id
    if not stat.S_ISCHR(status.st_mode):
        raise OSError(errno.ENODEV, "no character device", path)
    return os.major(status.st_rdev) in _PRINTER_MAJORS


async def _open_serial(path: str, baud: int) -> Link:
    """Configuring a port can block (USB round trips), hence the executor."""
    opening = asyncio.get_running_loop().run_in_executor(None, _configure_serial, path, baud)
    try:
        port = await asyncio.shield(opening)
    except asyncio.CancelledError:
        # The thread can't be stopped: whatever it still opens must not stay locked for ever.
        opening.add_done_callback(_close_abandoned)
        raise

    def close() -> None:
        with suppress(termios.error):  # unplugged: there is nothing left to flush
            termios.tcflush(port.fileno(), termios.TCIOFLUSH)
        port.close()

    return FdLink(port.fileno(), close)


def _configure_serial(path: str, baud: int) -> serial.Serial:
    try:
        # pyserial itself passes over the ENOTTY that a pty answers to DTR and RTS.
        port = serial.Serial(path, baudrate=baud, timeout=0, exclusive=True)
    except (ValueError, termios.error) as error:
        raise OSError(errno.EINVAL, f"can't be set to {baud} baud: {error}", path) from error
    try:
        attributes = termios.tcgetattr(port.fileno())
        # pyserial leaves VMIN at 0, with which "no data yet" and "hung up" both read as b"".
        attributes[6][termios.VMIN] = 1
        # Without this a break on the line (a cable pulled, a device switched on) reads as NUL.
        attributes[0] |= termios.IGNBRK
        termios.tcsetattr(port.fileno(), termios.TCSANOW, attributes)
    except termios.error as error:
        port.close()
        raise OSError(errno.EIO, f"can't be configured: {error}", path) from error
    return port


def _close_abandoned(opening: asyncio.Future[serial.Serial]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


async def _open_tcp(host: str, port: int) -> Link:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            sock = await _connect_first([(entry[0], entry[4]) for entry in found])
    except TimeoutError as error:
        raise OSError(errno.ETIMEDOUT, f"no connection to {host}:{port}") from error
    return FdLink(sock.fileno(), sock.close)


async def _connect_first(
    addresses: Sequence[tuple[socket.AddressFamily, tuple[object, ...]]],
) -> socket.socket:
    """The first address that takes a connection; else the last one's error."""
    failure: OSError = OSError(errno.EHOSTUNREACH, "no address")
    for family, address in addresses:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, address)
            _set_options(sock)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


def _set_options(sock: socket.socket) -> None:
    """A dead far end is noticed within about half a minute, whether we talk to it or not."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 25_000)  # ms

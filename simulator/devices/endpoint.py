"""Where a virtual device hangs on the wire: a pty or a TCP port that can be unplugged.

To the daemon it is a serial port or a serial-to-Ethernet box; nothing in the daemon knows that
the other end is simulated.
"""

import asyncio
import contextlib
import os
import random
import socket
import tty
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

Receive = Callable[[bytes], None]

BUFFER_BYTES = 1 << 16
"""A line keeps at most this much that the other end has not taken; more is lost and counted."""

_READ_BYTES = 1 << 16
_SLICE_SECONDS = 0.002
"""A paced line delivers in pieces of about this length: fine enough for Modbus silences."""


class ByteStream:
    """An open file descriptor on the event loop: non-blocking reads, bounded buffered writes.

    Owns the descriptor and closes it. ``on_closed`` is called once when the other end is gone,
    and not for our own ``close``.
    """

    def __init__(self, fd: int, on_data: Receive, on_closed: Callable[[], None]) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._on_data = on_data
        self._on_closed = on_closed
        self._out = bytearray()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._readable)
        self.bytes_dropped = 0

    @property
    def closed(self) -> bool:
        return self._fd < 0

    def write(self, data: bytes) -> None:
        """Send now or soon. What doesn't fit the bounded buffer is lost, as on a real line."""
        if self.closed:
            return
        if not self._out:
            data = data[self._send(data) :]
            if not data or self.closed:
                return
            self._loop.add_writer(self._fd, self._writable)
        room = BUFFER_BYTES - len(self._out)
        self._out += data[:room]
        self.bytes_dropped += max(0, len(data) - room)

    def close(self) -> None:
        if self.closed:
            return
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        os.close(self._fd)
        self._fd = -1
        self._out.clear()

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError:
            self._lost()
            return 0

    def _writable(self) -> None:
        del self._out[: self._send(self._out)]
        if not self._out and not self.closed:
            self._loop.remove_writer(self._fd)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._on_data(data)
        else:
            self._lost()

    def _lost(self) -> None:
        if not self.closed:
            self.close()
            self._on_closed()


@dataclass(frozen=True, slots=True)
class LineFaults:
    """What is wrong with a line, in both directions. The default is a perfect line."""

    lose: float = 0.0
    """Probability, per byte, that it never arrives."""
    duplicate: float = 0.0
    """Probability, per byte, that it arrives twice."""
    corrupt: float = 0.0
    """Probability, per byte, that one of its bits is turned over."""
    one_byte_at_a_time: bool = False
    baud: int | None = None
    """Pace the bytes: 10 bits each at this rate. ``None``: as fast as the kernel takes them."""
    noise_per_second: float = 0.0
    """Bursts of 1 to 8 random bytes a second, in each direction."""

    @property
    def damages(self) -> bool:
        return self.lose > 0 or self.duplicate > 0 or self.corrupt > 0


class _Wire:
    """One direction of a line: damages, delays, delivers."""

    def __init__(self, deliver: Receive, dice: random.Random) -> None:
        self.faults = LineFaults()
        self.bytes_dropped = 0
        self._deliver = deliver
        self._dice = dice
        self._waiting = bytearray()
        self._free_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def feed(self, data: bytes) -> None:
        if self.faults.damages:
            data = self._damaged(data)
        hurry = self.faults.baud is None and not self.faults.one_byte_at_a_time
        if hurry and self._timer is None:
            if data:
                self._deliver(data)
            return
        room = BUFFER_BYTES - len(self._waiting)
        self._waiting += data[:room]
        self.bytes_dropped += max(0, len(data) - room)
        self._schedule()

    def clear(self) -> None:
        """The line is cut: what was on it is gone."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _damaged(self, data: bytes) -> bytes:
        faults, dice = self.faults, self._dice
        out = bytearray()
        for byte in data:
            if dice.random() < faults.lose:
                continue
            arrived = byte
            if dice.random() < faults.corrupt:
                arrived ^= 1 << dice.randrange(8)
            out += bytes([arrived]) * (2 if dice.random() < faults.duplicate else 1)
        return bytes(out)

    def _schedule(self) -> None:
        if self._timer is not None or not self._waiting:
            return
        loop = asyncio.get_running_loop()
        seconds_per_byte = 10 / self.faults.baud if self.faults.baud else 0.0
        if self.faults.one_byte_at_a_time:
            count = 1
        elif seconds_per_byte:
            count = max(1, int(_SLICE_SECONDS / seconds_per_byte))
        else:
            count = len(self._waiting)
        count = min(count, len(self._waiting))
        self._free_at = max(loop.time(), self._free_at) + count * seconds_per_byte
        self._timer = loop.call_at(self._free_at, self._arrive, count)

    def _arrive(self, count: int) -> None:
        self._timer = None
        data = bytes(self._waiting[:count])
        del self._waiting[:count]
        self._schedule()
        self._deliver(data)


class Endpoint(ABC):
    """A place on the wire. Between ``start`` and ``stop`` it can be unplugged and plugged in."""

    def __init__(self, *, seed: int = 0) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - faults, no secrets
        self._receivers: list[Receive] = []
        self._inward = _Wire(self._arrived, self._dice)
        self._outward = _Wire(self._put, self._dice)
        self._noise_timer: asyncio.TimerHandle | None = None
        self._started = False
        self._plugged = False

    @property
    @abstractmethod
    def url(self) -> str:
        """What the daemon's configuration calls it: a path, or ``socket://host:port``."""

    @property
    def plugged(self) -> bool:
        return self._plugged

    @property
    def faults(self) -> LineFaults:
        return self._inward.faults

    def set_faults(self, **changes: Any) -> None:
        """Change fields of ``faults`` from now on, e.g. ``set_faults(lose=0.01, baud=9600)``."""
        faults = replace(self.faults, **changes)
        self._inward.faults = self._outward.faults = faults
        self._arm_noise()

    def attach(self, receive: Receive) -> None:
        """Give all received bytes to this too. Several devices can hang on one RS-485 line."""
        self._receivers.append(receive)

    def send(self, data: bytes) -> None:
        """Send towards the daemon. Into a cut line it is lost."""
        if self._plugged:
            self._outward.feed(data)

    async def start(self) -> None:
        """Make the pty or the port, plugged in. Raises ``OSError``."""
        self._started = True
        self.plug()

    async def stop(self) -> None:
        self.unplug()
        self._started = False

    def plug(self) -> None:
        """Plug the cable in again. Raises ``OSError`` when the pty or the port is not to be had."""
        if not self._started or self._plugged:
            return
        self._open()
        self._plugged = True
        self._arm_noise()

    def unplug(self) -> None:
        """Pull the cable: the daemon sees a hang-up, and whatever was on the line is gone."""
        if not self._plugged:
            return
        self._plugged = False
        self._arm_noise()
        self._inward.clear()
        self._outward.clear()
        self._close()

    @property
    def bytes_dropped(self) -> int:
        """Bytes lost because nobody took them, since the start."""
        return self._inward.bytes_dropped + self._outward.bytes_dropped

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def _close(self) -> None: ...

    @abstractmethod
    def _put(self, data: bytes) -> None:
        """Bytes have passed the outward line: to the daemon with them."""

    def _arrived(self, data: bytes) -> None:
        for receive in self._receivers:
            receive(data)

    def _arm_noise(self) -> None:
        if self._noise_timer is not None:
            self._noise_timer.cancel()
            self._noise_timer = None
        rate = self.faults.noise_per_second
        if self._plugged and rate > 0:
            delay = self._dice.expovariate(rate)
            self._noise_timer = asyncio.get_running_loop().call_later(delay, self._make_noise)

    def _make_noise(self) -> None:
        self._arm_noise()
        self._inward.feed(self._dice.randbytes(self._dice.randint(1, 8)))
        self._outward.feed(self._dice.randbytes(self._dice.randint(1, 8)))


class PtyEndpoint(Endpoint):
    """A serial port: a raw pty behind a symlink that stays the same over a replug, as
    ``/dev/serial/by-id`` does. Unplugged, the symlink is gone and an open port hangs up.
    """

    def __init__(self, symlink: Path | str, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self._symlink = Path(symlink)
        self._stream: ByteStream | None = None
        self._slave = -1

    @property
    def url(self) -> str:
        return str(self._symlink)

    def _open(self) -> None:
        master, slave = os.openpty()
        try:
            tty.setraw(slave)
            # Appears at once with its target, whatever was left there by an earlier run.
            fresh = self._symlink.with_name(f".{self._symlink.name}.{os.getpid()}")
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(os.ttyname(slave))
            fresh.replace(self._symlink)
        except OSError:
            os.close(master)
            os.close(slave)
            raise
        # Our own slave stays open: without it the master reads EIO whenever the daemon is away.
        self._slave = slave
        self._stream = ByteStream(master, self._inward.feed, self._close)

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if self._slave >= 0:
            os.close(self._slave)
            self._slave = -1
            with contextlib.suppress(FileNotFoundError):
                self._symlink.unlink()

    def _put(self, data: bytes) -> None:
        if self._stream is not None:
            self._stream.write(data)


class TcpListener:
    """A listening port that stays the same when it is closed and opened again."""

    def __init__(self, host: str, port: int, accepted: Callable[[socket.socket], None]) -> None:
        self.host = host
        self.port = port
        self._accepted = accepted
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Listen. Raises ``OSError`` when the port is taken."""
        listener = socket.create_server((self.host, self.port), backlog=64)
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self._socket = listener
        asyncio.get_running_loop().add_reader(listener.fileno(), self._accept)

    def close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _accept(self) -> None:
        if self._socket is None:
            return
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._accepted(connection)


class TcpEndpoint(Endpoint):
    """A serial-to-Ethernet box, or a printer's port 9100: one client at a time.

    The newest client has the line; the one before is cut off, as these boxes do, so that a
    daemon that was killed gets in again at once.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self._listener = TcpListener(host, port, self._connected)
        self._stream: ByteStream | None = None

    @property
    def url(self) -> str:
        """With port 0 known only after ``start``."""
        return f"socket://{self._listener.host}:{self._listener.port}"

    @property
    def port(self) -> int:
        return self._listener.port

    def _open(self) -> None:
        self._listener.open()

    def _close(self) -> None:
        self._listener.close()
        self._hang_up()

    def _connected(self, connection: socket.socket) -> None:
        self._hang_up()
        self._stream = ByteStream(connection.detach(), self._inward.feed, self._hang_up)

    def _hang_up(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._outward.clear()

    def _put(self, data: bytes) -> None:
        if self._stream is not None:
            self._stream.write(data)

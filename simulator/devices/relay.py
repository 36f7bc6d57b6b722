"""A network cable between the daemon and the broker, to be pulled at will.

The daemon connects to the relay, and the relay to the broker.
"""

import asyncio
import socket
from collections import Counter
from enum import StrEnum
from typing import Any

from simulator.devices.device import Observed
from simulator.devices.endpoint import TcpListener

_CHUNK_BYTES = 1 << 16
_CHUNKS_IN_FLIGHT = 16
CONNECT_SECONDS = 5.0


class RelayMode(StrEnum):
    UP = "up"
    DOWN = "down"
    """Connections are cut, new ones refused."""
    BLACK_HOLE = "black_hole"
    """Connections are accepted and stay, and nothing comes through, as with a dead router. When
    it heals, they go on where they were, as TCP does, unless somebody gave up meanwhile."""


class Relay(Observed):
    """Forwards one port. The listening port stays the same from ``start`` to ``stop``."""

    def __init__(
        self, target_host: str, target_port: int, *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        super().__init__()
        self.target = (target_host, target_port)
        self.latency_seconds = 0.0
        """Added to each direction, from the next bytes on."""
        self.counters: Counter[str] = Counter()
        """``connections``, ``connections_failed``, ``connections_reset``, ``bytes_up``,
        ``bytes_down``."""
        self._listener = TcpListener(host, port, self._connected)
        self._mode = RelayMode.DOWN
        self._open = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def host(self) -> str:
        return self._listener.host

    @property
    def port(self) -> int:
        return self._listener.port

    @property
    def mode(self) -> RelayMode:
        return self._mode

    async def start(self) -> None:
        """Listen and forward. Raises ``OSError`` when the port is taken."""
        self.set_mode(RelayMode.UP)

    async def stop(self) -> None:
        self.set_mode(RelayMode.DOWN)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def set_mode(self, mode: RelayMode) -> None:
        """``up``, ``down`` or ``black_hole``, at once."""
        if mode == self._mode:
            return
        if self._mode == RelayMode.DOWN:
            self._listener.open()
        self._mode = mode
        if mode == RelayMode.UP:
            self._open.set()
        else:
            self._open.clear()
        if mode == RelayMode.DOWN:
            self._listener.close()
            for task in self._tasks:
                task.cancel()
        self._changed()

    def snapshot(self) -> dict[str, Any]:
        return {
            "kind": "relay",
            "mode": self._mode.value,
            "latency_seconds": self.latency_seconds,
            "connections": len(self._tasks),
            "counters": dict(self.counters),
        }

    def _connected(self, connection: socket.socket) -> None:
        self.counters["connections"] += 1
        task = asyncio.get_running_loop().create_task(self._serve(connection))
        self._tasks.add(task)

        def served(_: asyncio.Task[None]) -> None:
            connection.close()  # also where the task was cancelled before it began
            self._tasks.discard(task)
            self._changed()

        task.add_done_callback(served)
        self._changed()

    async def _serve(self, near: socket.socket) -> None:
        near.setblocking(False)
        family = socket.AF_INET6 if ":" in self.target[0] else socket.AF_INET
        far = socket.socket(family, socket.SOCK_STREAM)
        far.setblocking(False)
        try:
            await self._open.wait()
            if await self._connect(far):
                await self._forward(near, far)
        finally:
            far.close()

    async def _connect(self, far: socket.socket) -> bool:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.get_running_loop().sock_connect(far, self.target)
        except OSError:  # also a time-out
            self.counters["connections_failed"] += 1
            return False
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return True

    async def _forward(self, near: socket.socket, far: socket.socket) -> None:
        """Until both ends have said all, or one of them broke off."""
        try:
            async with asyncio.TaskGroup() as group:
                for source, sink, counter in ((near, far, "bytes_up"), (far, near, "bytes_down")):
                    pipe: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS_IN_FLIGHT)
                    group.create_task(self._take(source, pipe, counter))
                    group.create_task(self._give(sink, pipe))
        except* OSError:
            self.counters["connections_reset"] += 1

    async def _take(
        self, source: socket.socket, pipe: asyncio.Queue[tuple[float, bytes]], counter: str
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            data = await loop.sock_recv(source, _CHUNK_BYTES)
            self.counters[counter] += len(data)
            await pipe.put((loop.time() + self.latency_seconds, data))
            if not data:
                return

    async def _give(self, sink: socket.socket, pipe: asyncio.Queue[tuple[float, bytes]]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await pipe.get()
            delay = due - loop.time()
            if delay > 0:
                await asyncio.sleep(delay)
            await self._open.wait()
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            await loop.sock_sendall(sink, data)

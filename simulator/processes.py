"""The programs of a demo as child processes: started, watched, killed, started again.

"Ready" is what a program itself says, over systemd's notification socket; for one that can't
speak (a broker), that its port answers. Every child leads its own process group, so that a Ctrl-C
at the terminal reaches only us and the order of stopping is ours, and dies with us (``leash``).
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from math import inf
from pathlib import Path

import psutil

from simulator import leash
from simulator.tasks import in_background

log = logging.getLogger(__name__)

FIRST_BACK_OFF_SECONDS = 0.2
LONGEST_BACK_OFF_SECONDS = 5.0
STEADY_SECONDS = 5.0
STOP_SECONDS = 10.0
"""After SIGTERM, before SIGKILL."""
PORT_POLL_SECONDS = 0.05


class ProgramFailed(Exception):
    """A program did not become ready; the message has the end of its log."""


class Readiness:
    """When something was ready, as a history that can be asked about any span."""

    def __init__(self) -> None:
        self._changes: list[float] = []
        """Times at which it became ready (even places) and stopped being ready (odd ones)."""

    @property
    def now(self) -> bool:
        return len(self._changes) % 2 == 1

    @property
    def since(self) -> float | None:
        """When it became what it is now."""
        return self._changes[-1] if self._changes else None

    def set(self, ready: bool, at: float) -> None:
        if ready != self.now:
            self._changes.append(at)

    def throughout(self, begin: float, end: float) -> bool:
        """Whether it was ready from ``begin`` to ``end`` without a break."""
        before = bisect_right(self._changes, begin)
        return before % 2 == 1 and before == bisect_right(self._changes, end)

    def breaks(self, begin: float, end: float) -> list[tuple[float, float]]:
        """From when to when it was not ready, for each time that touches ``begin`` to ``end``;
        from minus infinity before it ever was, and to infinity while it is not."""
        spans = zip_longest([-inf, *self._changes[1::2]], self._changes[0::2], fillvalue=inf)
        return [(down, up) for down, up in spans if down <= end and up > begin]


class Program:
    """One child process, kept alive until ``stop``.

    ``ports``: for a program that does not notify, it is ready once all of these answer.
    ``niceness``: of a program that in a real hall runs on another machine, so that it takes the
    processor from nobody here.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log_file: Path,
        socket_directory: Path,
        environment: Mapping[str, str] | None = None,
        ports: Sequence[int] = (),
        niceness: int = 0,
    ) -> None:
        self.name = name
        self.log_file = log_file
        self.readiness = Readiness()
        self.status = ""
        """What it says of itself."""
        self.kills = 0
        """By us, with SIGKILL."""
        self.failures: list[str] = []
        """How it ended when nobody asked it to."""
        self.peak_rss_bytes = 0
        self._command = command
        self._environment = environment or {}
        self._ports = ports
        self._niceness = niceness
        self._socket_directory = socket_directory
        self._process: asyncio.subprocess.Process | None = None
        self._manager: socket.socket | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._killed = False
        self._may_run = asyncio.Event()
        self._may_run.set()
        self._changed = asyncio.Event()
        self._observers: list[Callable[[], None]] = []

    @property
    def ready(self) -> bool:
        return self.readiness.now

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def alive(self) -> bool:
        """There is a process, and nobody has killed it yet."""
        process = self._process
        return process is not None and process.returncode is None and not self._killed

    @property
    def held(self) -> bool:
        """It is down and stays down until ``let_run``."""
        return not self._may_run.is_set()

    def on_change(self, callback: Callable[[], None]) -> None:
        self._observers.append(callback)

    async def start(self, within_seconds: float = 30.0) -> None:
        """Start, and return when it is ready. Raises ``ProgramFailed``."""
        self._keeper = in_background(self._keep(), f"keeping the {self.name}")
        try:
            async with asyncio.timeout(within_seconds):
                while not self.ready:
                    if self.failures:
                        raise ProgramFailed(f"{self.failures[0]}\n{self.log_tail()}")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise ProgramFailed(
                f"{self.name} was not ready within {within_seconds:g} s\n{self.log_tail()}"
            ) from None

    async def lives(self, within_seconds: float) -> bool:
        """Whether there is a process to kill, ready or not, within so many seconds."""
        try:
            async with asyncio.timeout(within_seconds):
                while not self.alive:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Ask it to end, wait, and insist. An exit code that is not 0 is a failure."""
        if self._keeper is None:
            return
        self._keeper.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeper
        self._keeper = None

    def kill9(self) -> bool:
        """End it as a power cut would. False where it isn't running. It is started again."""
        if not self.alive:
            return False
        self._killed = True
        self.kills += 1
        self._set_ready(False)
        self._signal(signal.SIGKILL)
        return True

    def hold_down(self) -> None:
        """Kill it, and don't start it again until ``let_run``."""
        self._may_run.clear()
        self.kill9()
        self._tell()

    def let_run(self) -> None:
        self._may_run.set()
        self._tell()

    def rss_bytes(self) -> int:
        """Resident memory now; 0 while it isn't running."""
        try:
            rss = int(psutil.Process(self.pid).memory_info().rss) if self.pid else 0
        except psutil.Error:
            return 0
        self.peak_rss_bytes = max(self.peak_rss_bytes, rss)
        return rss

    def log_tail(self, lines: int = 15) -> str:
        with suppress(FileNotFoundError):
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])
        return ""

    # --- one life after the other -----------------------------------------------------------------

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        back_off = FIRST_BACK_OFF_SECONDS
        while True:
            await self._may_run.wait()
            began = loop.time()
            code = await self._live()
            if not self._killed:
                self.failures.append(f"{self.name} ended by itself with exit code {code}")
                log.error("%s", self.failures[-1])
                self._tell()
            if loop.time() - began > STEADY_SECONDS:
                back_off = FIRST_BACK_OFF_SECONDS
            await asyncio.sleep(back_off)
            back_off = min(2 * back_off, LONGEST_BACK_OFF_SECONDS)

    async def _live(self) -> int:
        """Run it once, to its end; its exit code."""
        self._killed = False
        self._listen()
        try:
            self._process = await self._spawn()
            self._changed.set()
            asking = asyncio.create_task(self._ask_ports(), name=f"ports of {self.name}")
            try:
                return await self._process.wait()
            except asyncio.CancelledError:
                await self._end()
                raise
            finally:
                asking.cancel()
                self._set_ready(False)
        finally:
            self._process = None
            self._hang_up()

    async def _spawn(self) -> asyncio.subprocess.Process:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **self._environment}
        if self._manager is not None:
            environment["NOTIFY_SOCKET"] = self._manager.getsockname()
        with self.log_file.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", leash.__file__),
                *(str(os.getpid()), str(self._niceness)),
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    async def _end(self) -> None:
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                code = await process.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await process.wait()
            self.failures.append(f"{self.name} did not stop within {STOP_SECONDS:g} s")
        else:
            if code not in (0, -signal.SIGTERM) and not self._killed:
                self.failures.append(f"{self.name} stopped with exit code {code}")
        self._signal(signal.SIGKILL)  # whoever it may have left in its group

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    # --- is it ready? -----------------------------------------------------------------------------

    def _listen(self) -> None:
        """A socket of its own for each life: what a dead one said can't count for the next."""
        if self._ports:
            return
        path = self._socket_directory / f"{self.name}.notify"
        path.unlink(missing_ok=True)
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        manager.bind(str(path))
        self._manager = manager
        asyncio.get_running_loop().add_reader(manager.fileno(), self._notified)

    def _hang_up(self) -> None:
        if self._manager is not None:
            asyncio.get_running_loop().remove_reader(self._manager.fileno())
            self._manager.close()
            self._manager = None

    def _notified(self) -> None:
        assert self._manager is not None
        try:
            text = self._manager.recv(4096).decode(errors="replace")
        except BlockingIOError:
            return
        for line in text.splitlines():
            name, _, value = line.partition("=")
            if name == "READY" and not self._killed:
                self._set_ready(True)
            elif name == "STOPPING":
                self._set_ready(False)
            elif name == "STATUS":
                self.status = value

    async def _ask_ports(self) -> None:
        waiting = list(self._ports)
        while waiting:
            if await _answers(waiting[0]):
                waiting.pop(0)
            else:
                await asyncio.sleep(PORT_POLL_SECONDS)
        if self._ports:
            self._set_ready(True)

    def _set_ready(self, ready: bool) -> None:
        if ready != self.ready:
            self.readiness.set(ready, asyncio.get_running_loop().time())
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        for callback in self._observers:
            callback()


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


async def stop_in_order(stops: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Every one of them is stopped, also after one that fails; the first failure is raised."""
    failure: BaseException | None = None
    for stop in stops:
        try:
            await stop()
        except BaseException as error:  # noqa: BLE001 - the others are still to be stopped
            failure = failure or error
    if failure is not None:
        raise failure

"""Time, injected. Hall time is what customers and clerks live in; device time is physics.

Waits, rating time-outs and business days run on a ``Clock``. Debounce, bus polls and network
back-off run on the event loop's own time, whatever the demo's speed.
"""

import asyncio
import mmap
import struct
import time
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from typing import Protocol

from contract.names import Moment

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIMESYNC = Path("/run/systemd/timesync")
_TIMESYNC_IS_ASKED_EVERY_SECONDS = 1.0
"""Not at every press: the file system is asked."""
_PLAUSIBLE_SINCE = datetime(2026, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    def now(self) -> Moment:
        """This instant."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after this many seconds of this clock."""
        ...


def boot_id() -> str:
    """The kernel's boot id; a fixed text where there is no Linux procfs."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return "no-boot-id"


class SystemClock:
    """The machine's clock.

    Whether its date can be believed: where systemd-timesyncd runs, it says so; elsewhere a date
    that is not in the past of this software is believed.
    """

    def __init__(self, timesync: Path = _TIMESYNC) -> None:
        self._boot = boot_id()
        self._timesync = timesync
        self._said: bool | None = None
        self._asked_at = -inf

    def now(self) -> Moment:
        wall, monotonic = datetime.now(UTC), time.clock_gettime(time.CLOCK_BOOTTIME)
        if monotonic - self._asked_at >= _TIMESYNC_IS_ASKED_EVERY_SECONDS:
            self._said, self._asked_at = timesync_says(self._timesync), monotonic
        synced = can_be(wall) if self._said is None else self._said
        return Moment(wall=wall, monotonic=monotonic, boot=self._boot, synced=synced)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


def can_be(wall: datetime) -> bool:
    """No hall has run this software in the past: such a date is a clock without a battery."""
    return wall > _PLAUSIBLE_SINCE


def timesync_says(folder: Path) -> bool | None:
    """Whether systemd-timesyncd has set the clock; ``None`` where it does not run. After a boot
    without a network the clock of a Raspberry Pi stands where it was at the last shutdown."""
    return (folder / "synchronized").exists() if folder.is_dir() else None


class SharedScaledClock:
    """A clock that runs faster than time, shared by processes through a small file.

    The file holds four doubles: real origin (``CLOCK_BOOTTIME``), hall time there (Unix seconds),
    speed, and the hall time at which it all began. Whoever drives the demo writes it, the daemon
    reads it at every look. For demos and load tests, never in a hall.
    """

    _LAYOUT = struct.Struct("<dddd")
    _SLICE_SECONDS = 0.05

    def __init__(self, path: Path) -> None:
        """Raises ``OSError``, and ``ValueError`` for a file that holds something else."""
        if path.stat().st_size != self._LAYOUT.size:
            raise ValueError(f"{path} is no file of a shared clock")
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), self._LAYOUT.size, prot=mmap.PROT_READ)
        self._boot = f"scaled-{boot_id()}"

    @classmethod
    def create(cls, path: Path, start: datetime, speed: float) -> None:
        """Make the file: hall time begins at ``start`` (aware) and runs at ``speed``."""
        origin = time.clock_gettime(time.CLOCK_BOOTTIME)
        path.write_bytes(cls._LAYOUT.pack(origin, start.timestamp(), speed, start.timestamp()))

    @classmethod
    def set_speed(cls, path: Path, speed: float) -> None:
        """Change the speed from now on, without a jump in hall time."""
        with path.open("r+b") as file:
            real, hall, old, start = cls._LAYOUT.unpack(file.read(cls._LAYOUT.size))
            now = time.clock_gettime(time.CLOCK_BOOTTIME)
            file.seek(0)
            file.write(cls._LAYOUT.pack(now, hall + (now - real) * old, speed, start))

    def _read(self) -> tuple[float, float, float]:
        """(hall time in Unix seconds, seconds since the demo's start, speed)."""
        real, hall, speed, start = self._LAYOUT.unpack(self._map[: self._LAYOUT.size])
        unix = hall + (time.clock_gettime(time.CLOCK_BOOTTIME) - real) * speed
        return unix, unix - start, speed

    def now(self) -> Moment:
        unix, since_start, _ = self._read()
        return Moment(
            wall=datetime.fromtimestamp(unix, UTC),
            monotonic=max(0.0, since_start),
            boot=self._boot,
            synced=True,
        )

    async def sleep(self, seconds: float) -> None:
        """Sleeps in slices, because the speed may change meanwhile."""
        until = self._read()[0] + seconds
        while True:
            unix, _, speed = self._read()
            if unix >= until:
                return
            await asyncio.sleep(min(self._SLICE_SECONDS, (until - unix) / speed))


class ManualClock:
    """For tests: time stands still until it is moved."""

    def __init__(self, start: datetime, boot: str = "test-boot") -> None:
        self._wall = start
        self._monotonic = 0.0
        self._boot = boot
        self.synced = True
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> Moment:
        return Moment(
            wall=self._wall, monotonic=self._monotonic, boot=self._boot, synced=self.synced
        )

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._monotonic + seconds, waiter))
        await waiter

    def advance(self, seconds: float) -> None:
        """Move on, and wake who slept until now."""
        self._wall += timedelta(seconds=seconds)
        self._monotonic += seconds
        due = [sleeper for sleeper in self._sleepers if sleeper[0] <= self._monotonic]
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[0] > self._monotonic]
        for _, waiter in sorted(due, key=lambda sleeper: sleeper[0]):
            if not waiter.done():
                waiter.set_result(None)

    def step_wall(self, seconds: float) -> None:
        """The wall clock jumps (NTP); nothing else has passed."""
        self._wall += timedelta(seconds=seconds)

    def reboot(self, boot: str) -> None:
        """A new boot: the monotonic clock begins again."""
        self._boot = boot
        self._monotonic = 0.0

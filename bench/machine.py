"""What the figures were measured on: the machine, and how fast its disk says "it is there"."""

import os
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

PAGE = b"\x5a" * 4096
FILE_PAGES = 1024


@dataclass(frozen=True)
class Machine:
    cpu: str
    cores: int
    memory_gib: float
    fdatasync_ms: float
    """Median, of one page written over in a file that is not growing."""
    fdatasync_p99_ms: float
    load: float
    """Load average of the last minute before the benchmarks began."""
    python: str
    system: str
    date: str


def describe(disk: Path) -> Machine:
    """The machine as it is now; takes a second."""
    load = os.getloadavg()[0]
    syncs = sorted(_fdatasync_seconds(disk, 1000))
    return Machine(
        cpu=_field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        cores=os.cpu_count() or 1,
        memory_gib=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30,
        fdatasync_ms=statistics.median(syncs) * 1000,
        fdatasync_p99_ms=syncs[len(syncs) * 99 // 100] * 1000,
        load=load,
        python=platform.python_version(),
        system=_system(),
        date=datetime.now(UTC).date().isoformat(),
    )


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _fdatasync_seconds(disk: Path, count: int) -> list[float]:
    seconds = []
    with tempfile.TemporaryFile(dir=disk) as file:
        fd = file.fileno()
        os.write(fd, PAGE * FILE_PAGES)
        os.fsync(fd)
        for number in range(count):
            os.pwrite(fd, PAGE, number % FILE_PAGES * len(PAGE))
            began = time.perf_counter()
            os.fdatasync(fd)
            seconds.append(time.perf_counter() - began)
    return seconds


def _field(path: str, name: str) -> str | None:
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    values = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in values if key.strip() == name), None)

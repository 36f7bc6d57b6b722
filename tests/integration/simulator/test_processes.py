"""Programs as children: started, killed, started again, and never left behind."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from simulator import leash
from simulator.processes import Program, ProgramFailed

NOTIFIES = """
import signal, sys
from messaging.service_notify import notify
signal.signal(signal.SIGTERM, lambda *_: (notify("STOPPING=1"), sys.exit(0)))
notify("READY=1", status="all is well")
while True:
    signal.pause()
"""
FAILS_AT_ONCE = "import sys; print('no such hall'); sys.exit(78)"
NEVER_READY = "import time; print('thinking'); time.sleep(1000)"
REFUSES_TO_STOP_WELL = """
import signal, sys
from messaging.service_notify import notify
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
notify("READY=1")
while True:
    signal.pause()
"""


@asynccontextmanager
async def program(tmp_path: Path, source: str, *, start: bool = True) -> AsyncIterator[Program]:
    made = Program(
        "child",
        (sys.executable, "-c", source),
        log_file=tmp_path / "child.log",
        socket_directory=tmp_path,
    )
    try:
        if start:
            await made.start()
        yield made
    finally:
        await made.stop()


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            if what():
                return
            await asyncio.sleep(0.01)


async def test_it_is_ready_when_it_says_so_and_gone_when_stopped(tmp_path: Path) -> None:
    async with program(tmp_path, NOTIFIES) as child:
        assert child.ready
        assert child.status == "all is well"
        assert child.pid is not None
        assert child.rss_bytes() > 1_000_000
        process = psutil.Process(child.pid)
        await child.stop()
        assert not process.is_running()
        assert not child.ready
        assert child.failures == []


async def test_a_killed_program_comes_back_and_is_ready_again(tmp_path: Path) -> None:
    async with program(tmp_path, NOTIFIES) as child:
        first = child.pid
        assert child.kill9()
        assert not child.ready  # at once, not only when its death is noticed
        await until(lambda: child.ready)
        assert child.pid != first
        assert child.kills == 1
        assert child.failures == []


async def test_a_program_that_is_dead_already_is_not_killed_twice(tmp_path: Path) -> None:
    async with program(tmp_path, NOTIFIES) as child:
        assert child.kill9()
        assert not child.kill9()
        assert child.kills == 1


async def test_who_wants_to_kill_a_dead_program_waits_until_it_lives_again(tmp_path: Path) -> None:
    async with program(tmp_path, NOTIFIES) as child:
        assert child.kill9()
        assert not child.alive
        assert await child.lives(20)
        assert child.kill9()
        assert child.kills == 2
        child.hold_down()
        await until(lambda: child.pid is None)
        assert not await child.lives(0.1)


async def test_a_program_that_is_held_down_stays_down_until_it_may_run(tmp_path: Path) -> None:
    async with program(tmp_path, NOTIFIES) as child:
        child.hold_down()
        await until(lambda: child.pid is None)
        await asyncio.sleep(0.6)  # longer than its first back-off
        assert child.pid is None
        assert child.held
        child.let_run()
        await until(lambda: child.ready)


async def test_a_program_that_ends_by_itself_is_a_failure_with_its_last_words(
    tmp_path: Path,
) -> None:
    async with program(tmp_path, FAILS_AT_ONCE, start=False) as child:
        with pytest.raises(ProgramFailed, match=r"(?s)exit code 78.*no such hall"):
            await child.start()


async def test_a_program_that_never_gets_ready_is_a_failure(tmp_path: Path) -> None:
    async with program(tmp_path, NEVER_READY, start=False) as child:
        with pytest.raises(ProgramFailed, match="not ready within"):
            await child.start(within_seconds=1.0)


async def test_a_program_that_does_not_stop_well_is_a_failure(tmp_path: Path) -> None:
    async with program(tmp_path, REFUSES_TO_STOP_WELL) as child:
        await child.stop()
        assert child.failures == ["child stopped with exit code 3"]


async def test_a_leashed_program_dies_with_its_parent(tmp_path: Path) -> None:
    """The parent is killed by SIGKILL, so nothing of it can clean up."""
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c"),
        "import os, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, {leash.__file__!r}, str(os.getpid()), '0',\n"
        "    sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(1000)'],\n"
        "    stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n",
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    child = psutil.Process(int(await parent.stdout.readline()))
    assert child.is_running()
    parent.kill()
    await parent.wait()
    await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_a_leash_whose_parent_is_gone_already_starts_nothing() -> None:
    done = subprocess.run(
        [sys.executable, leash.__file__, str(os.getppid()), "0", "echo", "started"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stdout == ""

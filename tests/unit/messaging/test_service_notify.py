"""The service manager is played by a real datagram socket."""

import asyncio
import os
import socket
import uuid
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from messaging.service_notify import feed_watchdog, notify, watchdog_seconds
from tests.support.service_manager import service_manager
from tests.support.virtual_time import in_virtual_time


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A bound socket and its address as ``NOTIFY_SOCKET`` would give it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(10)
        listener.bind(name.replace("@", "\0", 1))
        yield listener, name


def test_the_manager_reads_what_was_told(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager

    assert notify("READY=1", status="6 windows, 营业厅", environ={"NOTIFY_SOCKET": address})

    assert listener.recv(4096).decode() == "READY=1\nSTATUS=6 windows, 营业厅"


def test_each_call_is_one_datagram(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager

    for line in ("WATCHDOG=1", "STOPPING=1"):
        notify(line, environ={"NOTIFY_SOCKET": address})

    assert [listener.recv(4096), listener.recv(4096)] == [b"WATCHDOG=1", b"STOPPING=1"]


def test_without_a_manager_nothing_happens() -> None:
    assert not notify("READY=1", environ={})
    assert not notify("READY=1", environ={"NOTIFY_SOCKET": ""})


@pytest.mark.parametrize("line", ["READY", "READY=1\nMAINPID=1"])
def test_a_line_that_is_not_one_assignment_is_refused(line: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="NAME=value"):
        notify(line, environ={"NOTIFY_SOCKET": str(tmp_path / "notify")})


def test_a_status_cannot_carry_a_second_assignment(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="NAME=value"):
        notify(status="fine\nREADY=1", environ={"NOTIFY_SOCKET": str(tmp_path / "notify")})


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="vsock"):
        notify("READY=1", environ={"NOTIFY_SOCKET": "vsock:2:1"})


def test_a_manager_that_is_gone_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = {"NOTIFY_SOCKET": str(tmp_path / "gone")}
    assert not notify("STOPPING=1", environ=gone)
    assert "STOPPING=1" in caplog.text


def test_the_watchdog_counts_in_seconds() -> None:
    assert watchdog_seconds({"WATCHDOG_USEC": "10000000"}) == 10.0
    assert watchdog_seconds({"WATCHDOG_USEC": "1", "WATCHDOG_PID": str(os.getpid())}) == 1e-6


def test_a_watchdog_meant_for_another_process_is_not_ours() -> None:
    assert watchdog_seconds({}) is None
    assert watchdog_seconds({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}) is None


def test_a_watchdog_limit_that_is_no_number_is_loud() -> None:
    with pytest.raises(ValueError, match="soon"):
        watchdog_seconds({"WATCHDOG_USEC": "soon"})


LIMIT_SECONDS = 60.0


async def fed_at(
    folder: Path, environment: pytest.MonkeyPatch, answers: Callable[[], Awaitable[bool]]
) -> list[float]:
    """The seconds of five limits at which the manager was told that all is well."""
    loop = asyncio.get_running_loop()
    with service_manager(folder, environment, watchdog_seconds=LIMIT_SECONDS) as manager:
        feeding = asyncio.create_task(feed_watchdog(answers, "the disk has"))
        times = []
        while loop.time() < 5 * LIMIT_SECONDS:
            await asyncio.sleep(LIMIT_SECONDS / 1000)
            if not manager.silent():
                times.append(loop.time())
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
    return times


@pytest.mark.parametrize("stall_limits", [0.35, 0.5, 0.8])
def test_one_stall_shorter_than_the_limit_is_survived_and_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stall_limits: float,
) -> None:
    questions = 0

    async def stalls_once() -> bool:
        nonlocal questions
        questions += 1
        if questions == 3:
            await asyncio.sleep(stall_limits * LIMIT_SECONDS)
        return True

    @in_virtual_time
    async def five_limits() -> None:
        times = await fed_at(tmp_path, monkeypatch, stalls_once)
        gaps = [after - before for before, after in pairwise([0.0, *times, 5 * LIMIT_SECONDS])]
        assert stall_limits * LIMIT_SECONDS < max(gaps) < LIMIT_SECONDS

    five_limits()
    assert caplog.text.count("the disk has not answered within 20.0 s") == 1


def test_one_false_answer_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = 0

    async def false_once() -> bool:
        nonlocal questions
        questions += 1
        return questions != 3

    @in_virtual_time
    async def five_limits() -> None:
        times = await fed_at(tmp_path, monkeypatch, false_once)
        gaps = [after - before for before, after in pairwise([0.0, *times, 5 * LIMIT_SECONDS])]
        assert max(gaps) < LIMIT_SECONDS / 2

    five_limits()


def test_who_hangs_for_ever_is_asked_once_and_starves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = 0

    async def hangs() -> bool:
        nonlocal questions
        questions += 1
        if questions == 3:
            await asyncio.Event().wait()
        return True

    @in_virtual_time
    async def five_limits() -> None:
        times = await fed_at(tmp_path, monkeypatch, hangs)
        assert len(times) == 2
        assert questions == 3

    five_limits()

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping

import pytest

from contract.names import DeviceId, DeviceStatus
from edge.drivers.health import DeviceHealth, OncePerChange
from edge.drivers.supervisor import Supervisor, run_together


class Scripted:
    """A device whose runs are given: an exception to raise, or seconds of good service."""

    def __init__(self, time: "Time", runs: list[Exception | float]) -> None:
        self.id: DeviceId = "printer"
        self.time = time
        self.runs = runs

    async def run(self) -> None:
        step = self.runs.pop(0)
        if isinstance(step, Exception):
            raise step
        self.time.now += step
        raise OSError("lost after a while")

    def counters(self) -> Mapping[str, int]:
        return {"frames_garbage": 3}


class Time:
    """Sleeps at once, notes how long, and stops the test after ``last`` sleeps."""

    def __init__(self, last: int) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.last = last
        self.reached = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) == self.last:
            self.reached.set()
            await asyncio.Event().wait()

    def monotonic(self) -> float:
        return self.now


class Seen:
    def __init__(self) -> None:
        self.statuses: list[tuple[DeviceStatus, str]] = []

    def __call__(self, device: DeviceId, status: DeviceStatus, detail: str) -> None:
        assert device == "printer"
        self.statuses.append((status, detail))


async def supervise(runs: list[Exception | float]) -> tuple[Supervisor, Time, Seen]:
    time, seen = Time(last=len(runs)), Seen()
    supervisor = Supervisor(
        Scripted(time, runs), OncePerChange(seen), sleep=time.sleep, monotonic=time.monotonic
    )
    task = asyncio.create_task(supervisor.run())
    await asyncio.wait_for(time.reached.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return supervisor, time, seen


async def test_back_off_doubles_up_to_five_seconds() -> None:
    _, time, _ = await supervise([OSError("absent") for _ in range(8)])
    assert time.slept == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


async def test_back_off_begins_anew_after_a_good_run() -> None:
    _, time, _ = await supervise([OSError("x"), OSError("x"), 3600.0, OSError("x")])
    assert time.slept == [0.2, 0.4, 0.2, 0.4]


async def test_an_absent_device_is_reported_offline_once() -> None:
    supervisor, _, seen = await supervise([OSError("absent") for _ in range(5)])
    assert seen.statuses == [(DeviceStatus.OFFLINE, "absent")]
    assert supervisor.counters() == {"frames_garbage": 3, "runs": 5, "lost": 5}


async def test_a_drivers_bug_is_loud_counted_and_backed_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        supervisor, time, seen = await supervise([KeyError("oops"), OSError("absent")])
    assert supervisor.counters()["crashed"] == 1
    assert time.slept == [0.2, 0.4]
    assert [status for status, _ in seen.statuses] == [DeviceStatus.FAULT, DeviceStatus.OFFLINE]
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError


async def test_a_group_of_os_errors_is_a_lost_device_and_no_bug() -> None:
    supervisor, _, _ = await supervise([ExceptionGroup("g", [OSError("a"), OSError("b")])])
    assert supervisor.counters()["lost"] == 1
    supervisor, _, _ = await supervise([ExceptionGroup("g", [OSError("a"), KeyError("b")])])
    assert supervisor.counters()["crashed"] == 1


async def test_cancelling_reaches_the_device_which_closes_itself() -> None:
    closed = asyncio.Event()
    entered = asyncio.Event()

    class Open(Scripted):
        async def run(self) -> None:
            try:
                entered.set()
                await asyncio.Event().wait()
            finally:
                closed.set()

    seen = Seen()
    task = asyncio.create_task(Supervisor(Open(Time(1), []), seen).run())
    await asyncio.wait_for(entered.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed.is_set()
    assert seen.statuses == []


async def test_run_together_raises_the_plain_error_and_ends_the_rest() -> None:
    ended = asyncio.Event()

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    def fails(error: Exception) -> Callable[[], Coroutine[None, None, None]]:
        async def work() -> None:
            await asyncio.sleep(0)
            raise error

        return work

    with pytest.raises(OSError, match="gone"):
        await run_together(waits(), fails(OSError("gone"))())
    assert ended.is_set()
    with pytest.raises(KeyError):
        await run_together(fails(OSError("gone"))(), fails(KeyError("bug"))())


def test_of_what_a_device_and_its_supervisor_report_changes_are_passed_on() -> None:
    seen = Seen()
    once = OncePerChange(seen)
    health = DeviceHealth("printer", once)
    health.report(DeviceStatus.UNKNOWN)
    assert seen.statuses == [], "that nothing is known yet is no news"
    health.report(DeviceStatus.ONLINE)
    health.report(DeviceStatus.ONLINE, "again")
    once("printer", DeviceStatus.FAULT, "driver bug")
    health.report(DeviceStatus.ONLINE, "it works again")
    health.report(DeviceStatus.PAPER_OUT, "no paper")
    health.report(DeviceStatus.UNKNOWN, "silent")
    statuses = [status for status, _ in seen.statuses]
    assert statuses == ["online", "fault", "online", "paper_out", "unknown"]

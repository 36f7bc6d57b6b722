"""What a hall does when one of its own parts fails, and what it leaves behind when it stops."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contract.commands import ConfirmPrint, IssueTicket, Refusal, SignOn
from contract.documents import HallReport
from contract.events import HallEvent, NumbersLeftOut
from contract.names import ServiceId
from edge.bootstrap import CannotStart, Hall, restore
from edge.clock import ManualClock
from edge.config import HallConfig, load
from edge.controller import Controller, EventLog
from edge.journal.errors import JournalError
from edge.journal.journal import Journal
from edge.queue.estimate import QueueLength
from edge.queue.plan import WaitEstimate
from tests.support.broker import running_broker
from tests.support.hall_events import device, epochs, ulid
from tests.support.service_manager import service_manager

START = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)


def config_in(folder: Path, more: str = "") -> HallConfig:
    """A hall of one window and no devices."""
    file = folder / "hall.toml"
    file.write_text(
        f"""
[hall]
id = "hall-a"
name = {{ zh = "滨江营业厅", en = "Riverside" }}
time_zone = "Asia/Shanghai"

[journal]
path = "{folder}/journal.db"

[services.payment]
name = {{ zh = "缴费", en = "Payment" }}
prefix = "A"

[windows.1]
skills = "all"
{more}
""",
        encoding="utf-8",
    )
    return load(file)


@asynccontextmanager
async def journal_of(config: HallConfig) -> AsyncIterator[Journal]:
    journal = await Journal.open(config.journal.path, hall=config.hall.id, new_epoch=epochs())
    try:
        yield journal
    finally:
        await journal.close()


async def controller_of(config: HallConfig, journal: Journal, log: EventLog) -> Controller:
    return Controller(config.plan(), *await restore(journal), log, ManualClock(START))


async def until_said(caplog: pytest.LogCaptureFixture, words: str) -> None:
    async with asyncio.timeout(20):
        while words not in caplog.text:
            await asyncio.sleep(0.01)


async def test_many_idle_windows_ask_for_one_estimate_of_each_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One each held the event loop for longer than a tap lasts."""
    asked: list[ServiceId] = []
    estimate = QueueLength.estimate

    def counted(self: QueueLength, *arguments: Any, **place: Any) -> WaitEstimate:
        asked.append(arguments[2])
        return estimate(self, *arguments, **place)

    more = "".join(f'\n[windows.{number}]\nskills = "all"\n' for number in range(2, 41))
    config = config_in(tmp_path, more)
    async with journal_of(config) as journal:
        controller = await controller_of(config, journal, journal)
        hall = Hall(config, ManualClock(START), journal, controller)
        stop = asyncio.Event()
        running = asyncio.create_task(hall.run(stop))
        async with asyncio.timeout(20):
            while controller.state.business_day is None:
                await asyncio.sleep(0)
            ticket = IssueTicket(ticket=ulid(1), service="payment")
            assert not isinstance(await controller.submit(ticket), Refusal)
            for number in range(1, 41):
                signing_on = SignOn(window=number, clerk=str(number))
                assert not isinstance(await controller.submit(signing_on), Refusal)
            printed = await controller.submit(ConfirmPrint(ticket=ulid(1)))
            assert not isinstance(printed, Refusal)
            monkeypatch.setattr(QueueLength, "estimate", counted)
            hall._refresh()
        assert asked == ["payment"]
        stop.set()
        await running


class LogWithoutRoom:
    """Refuses that numbers are left out, as a journal does that somebody holds in that moment."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    async def append(self, events: Sequence[HallEvent]) -> int:
        if any(isinstance(event, NumbersLeftOut) for event in events):
            raise JournalError("it is held by another program")
        return await self.journal.append(events)


async def test_a_hall_does_not_open_on_an_old_copy_whose_numbers_can_not_be_left_out(
    tmp_path: Path,
) -> None:
    config = config_in(tmp_path)
    async with journal_of(config) as journal:
        await journal.append([device()])
        copy = config.journal.path.with_name("copy")
        with closing(sqlite3.connect(config.journal.path)) as source:
            source.execute("VACUUM INTO ?", (str(copy),))
    config.journal.path.write_bytes(copy.read_bytes())
    async with journal_of(config) as journal:
        controller = await controller_of(config, journal, LogWithoutRoom(journal))
        hall = Hall(config, ManualClock(START), journal, controller)
        with pytest.raises(CannotStart, match="can't be left out"):
            await hall.run(asyncio.Event())
    async with journal_of(config) as journal:
        assert journal.was_put_back, "the next start does it"


class DyingLog:
    """An event log with a bug that comes out at the event ``deadly``."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    async def append(self, events: Sequence[HallEvent]) -> int:
        if any(getattr(event, "detail", "") == "deadly" for event in events):
            raise ZeroDivisionError("a bug in the log")
        return await self.journal.append(events)


async def test_a_hall_whose_writer_dies_ends_loudly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    config = config_in(tmp_path)
    async with journal_of(config) as journal, asyncio.timeout(30):
        controller = await controller_of(config, journal, DyingLog(journal))
        hall = Hall(config, ManualClock(START), journal, controller)
        running = asyncio.create_task(hall.run(asyncio.Event()))
        await until_said(caplog, "ready: ")
        asking = asyncio.create_task(controller.record(device("deadly")))
        with pytest.RaisesGroup(
            pytest.RaisesExc(RuntimeError, match="the writer ended by itself")
        ) as ended:
            await running
        assert isinstance(ended.value.exceptions[0].__cause__, ZeroDivisionError)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def test_a_stop_leaves_a_snapshot_of_all_that_happened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    config = config_in(tmp_path)
    stop = asyncio.Event()
    async with journal_of(config) as journal, asyncio.timeout(30):
        controller = await controller_of(config, journal, journal)
        hall = Hall(config, ManualClock(START), journal, controller)
        running = asyncio.create_task(hall.run(stop))
        await until_said(caplog, "ready: ")
        await controller.record(device("the last that happens"))
        stop.set()
        await running
        saved = await journal.load_snapshot()
        assert saved is not None
        assert saved.position == journal.position == controller.position
        assert await restore(journal) == (controller.state, controller.position)


async def test_the_service_manager_hears_that_a_hall_is_ready_answers_and_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_in(tmp_path)
    stop = asyncio.Event()
    with service_manager(tmp_path, monkeypatch, watchdog_seconds=1.5) as manager:
        async with journal_of(config) as journal, asyncio.timeout(30):
            controller = await controller_of(config, journal, journal)
            hall = Hall(config, ManualClock(START), journal, controller)
            running = asyncio.create_task(hall.run(stop))
            heard = [(await manager.hear()).splitlines()[0] for _ in range(2)]
            assert sorted(heard) == [b"READY=1", b"WATCHDOG=1"]
            assert await manager.hear() == b"WATCHDOG=1"
            stop.set()
            while await manager.hear() != b"STOPPING=1":
                pass
            await running


class HallWithABug(Hall):
    """Can't say how it is."""

    def _document(self) -> HallReport:
        raise ZeroDivisionError("a bug in the report")


async def test_a_bug_on_the_way_to_the_centre_does_not_stop_the_hall(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stop = asyncio.Event()
    async with running_broker(tmp_path / "broker") as broker:
        password = tmp_path / "password"
        password.write_text(broker.users["hall-a"][0], encoding="utf-8")
        config = config_in(
            tmp_path,
            f"""
[uplink]
host = "127.0.0.1"
port = {broker.port}
password_file = "{password}"
""",
        )
        async with journal_of(config) as journal, asyncio.timeout(30):
            controller = await controller_of(config, journal, journal)
            hall = HallWithABug(config, ManualClock(START), journal, controller)
            running = asyncio.create_task(hall.run(stop))
            await until_said(caplog, "the uplink failed, again in")
            assert "a bug in the report" in caplog.text
            outcome = await controller.record(device("the hall goes on"))
            assert not isinstance(outcome, Refusal)
            assert not running.done()
            stop.set()
            await running

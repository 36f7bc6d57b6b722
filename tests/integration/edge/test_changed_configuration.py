"""A hall that starts again in the middle of a day with another configuration."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contract.commands import ConfirmPrint, IssueTicket, Refusal
from contract.events import TicketIssued
from contract.names import TicketNumber
from edge.bootstrap import Hall, restore
from edge.clock import ManualClock
from edge.config import load
from edge.controller import Controller
from edge.journal.journal import Journal
from tests.support.hall_events import epochs, ulid

START = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)


@asynccontextmanager
async def running(folder: Path, service: str, numbers: str) -> AsyncIterator[Controller]:
    """A hall of one window and one service, until it is stopped."""
    file = folder / "hall.toml"
    file.write_text(
        f"""
[hall]
id = "hall-a"
name = {{ zh = "滨江营业厅", en = "Riverside" }}
time_zone = "Asia/Shanghai"

[journal]
path = "{folder}/journal.db"

[services.{service}]
name = {{ zh = "缴费", en = "Payment" }}
prefix = "A"
numbers = {numbers}

[windows.1]
skills = "all"
""",
        encoding="utf-8",
    )
    config, clock, stop = load(file), ManualClock(START), asyncio.Event()
    journal = await Journal.open(config.journal.path, hall=config.hall.id, new_epoch=epochs())
    try:
        controller = Controller(config.plan(), *await restore(journal), journal, clock)
        ready = asyncio.Event()
        controller.subscribe(lambda event, state: ready.set())
        hall = asyncio.create_task(Hall(config, clock, journal, controller).run(stop))
        async with asyncio.timeout(30):
            await ready.wait()
            while controller.state.business_day is None:
                await asyncio.sleep(0.01)
            yield controller
            stop.set()
            await hall
    finally:
        await journal.close()


async def take_a_number(controller: Controller, n: int, service: str) -> TicketNumber:
    outcome = await controller.submit(IssueTicket(ticket=ulid(n), service=service))
    assert not isinstance(outcome, Refusal), outcome
    await controller.submit(ConfirmPrint(ticket=ulid(n)))
    issued = outcome[0]
    assert isinstance(issued, TicketIssued)
    return issued.number


async def test_a_service_is_renamed_and_numbers_go_on_and_who_waited_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, logger="edge.wind_up")
    async with running(tmp_path, "payment", "[1, 99]") as hall:
        assert await take_a_number(hall, 1, "payment") == "A01"
        assert await take_a_number(hall, 2, "payment") == "A02"
    async with running(tmp_path, "bills", "[1, 99]") as hall:
        assert await take_a_number(hall, 3, "bills") == "A03"
        async with asyncio.timeout(30):
            while list(hall.state.tickets) != [ulid(3)]:
                await asyncio.sleep(0.01)
    assert "service payment is no longer configured" in caplog.text
    assert "A01, A02" in caplog.text


async def test_a_range_is_moved_and_moved_back_and_nothing_comes_twice(tmp_path: Path) -> None:
    numbers = []
    ranges = ("[1, 99]", "[500, 999]", "[1, 99]", "[500, 999]")
    for n, range_of_numbers in enumerate(ranges, start=1):
        async with running(tmp_path, "payment", range_of_numbers) as hall:
            numbers.append(await take_a_number(hall, n, "payment"))
    assert numbers == ["A01", "A500", "A02", "A501"]

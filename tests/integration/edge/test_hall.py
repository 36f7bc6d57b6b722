"""One hall on real bytes: a press becomes paper, a call on a screen, a rating, and survives."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.real_hall import (
    NO_PAPER_PIN,
    READY_PIN,
    REFUSED_PIN,
    WAIT_SECONDS,
    RealHall,
    real_hall,
    until,
)


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[RealHall]:
    async with real_hall(tmp_path) as running:
        await running.start()
        yield running


async def test_a_visit_from_button_to_rating(hall: RealHall) -> None:
    assert await hall.press(1, "sign_on") == "accepted"
    paper = await hall.take_a_number()
    assert "A0001" in paper.text
    assert await hall.press(1, "call_next") == "accepted"
    await hall.shows(1, "A0001 请到1号窗口")
    assert await hall.press(1, "start") == "accepted"
    assert await hall.press(1, "finish") == "accepted"
    assert await hall.rate(1, "very_satisfied") == "accepted"
    assert await hall.rate(1, "very_satisfied") == "refused"
    assert await hall.stop() == 0
    assert hall.events("ticket.rated") == 1


async def test_a_call_with_nobody_waiting_is_refused_by_the_lamp(hall: RealHall) -> None:
    await hall.press(1, "sign_on")
    assert await hall.press(1, "call_next") == "refused"


async def test_after_a_kill_the_hall_goes_on_where_it_was(hall: RealHall) -> None:
    await hall.press(1, "sign_on")
    await hall.take_a_number()
    await hall.take_a_number()
    await hall.press(1, "call_next")
    await hall.kill()
    await hall.start()
    await hall.shows(1, "A0001 请到1号窗口")
    assert await hall.press(1, "start") == "accepted"
    assert await hall.press(1, "call_next") == "accepted"
    await hall.shows(1, "A0002")
    paper = await hall.take_a_number()
    assert "A0003" in paper.text


async def test_a_kill_after_a_clean_stop_costs_nothing_that_happened_since(hall: RealHall) -> None:
    """The stop leaves a snapshot; the start after the kill reads what came behind it."""
    await hall.press(1, "sign_on")
    await hall.take_a_number()
    assert await hall.stop() == 0
    await hall.start()
    await hall.take_a_number()
    assert await hall.press(1, "call_next") == "accepted"
    assert await hall.press(1, "start") == "accepted"
    await hall.kill()
    await hall.start()
    await hall.shows(1, "A0001 正在办理")
    assert await hall.press(1, "call_next") == "accepted"
    await hall.shows(1, "A0002 请到1号窗口")
    paper = await hall.take_a_number()
    assert "A0003" in paper.text


async def test_a_window_that_left_the_configuration_leaves_its_customer_in_the_line(
    hall: RealHall,
) -> None:
    for window in (1, 2):
        await hall.press(window, "sign_on")
    await hall.take_a_number()
    assert await hall.press(2, "call_next") == "accepted"
    await hall.stop()
    hall.numbers = range(1, 2)
    hall.write_config()
    await hall.start()
    assert await hall.press(1, "call_next") == "accepted"
    await hall.shows(1, "A0001")


async def test_without_paper_the_button_says_so_and_no_number_is_spent(hall: RealHall) -> None:
    hall.printer.run_out_of_paper()
    await until(lambda: hall.pigpiod.level(NO_PAPER_PIN))
    assert not hall.pigpiod.level(READY_PIN)
    flashes = len([c for c in hall.pigpiod.history if c.pin == REFUSED_PIN and c.level])
    await hall.pigpiod.press(17)
    await until(
        lambda: len([c for c in hall.pigpiod.history if c.pin == REFUSED_PIN and c.level]) > flashes
    )
    hall.printer.refill_paper()
    await until(lambda: hall.pigpiod.level(READY_PIN))
    paper = await hall.take_a_number()
    assert "A0001" in paper.text


async def test_a_bus_that_was_unplugged_serves_again(hall: RealHall) -> None:
    await hall.press(1, "sign_on")
    hall.bus.unplug()
    hall.bus.plug()
    await until(lambda: hall.bus.modules[1].counters.total() > 0)
    assert await hall.press(1, "pause") == "accepted"
    await hall.shows(1, "暂停服务")


async def test_a_screen_that_was_unplugged_shows_what_is_true_now(hall: RealHall) -> None:
    await hall.press(1, "sign_on")
    hall.screens[1].unplug()
    await hall.take_a_number()
    assert await hall.press(1, "call_next") == "accepted"
    hall.screens[1].plug()
    await hall.shows(1, "A0001")


async def test_a_second_instance_on_the_same_journal_is_refused(
    hall: RealHall, tmp_path: Path
) -> None:
    second = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "edge.cli", "run", "--config", str(hall.config)),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            _, said = await second.communicate()
    finally:
        if second.returncode is None:
            second.kill()
            await second.wait()
    assert second.returncode == 1
    assert b"Traceback" not in said
    assert str(hall.journal).encode() in said


async def test_a_full_disk_is_said_at_button_screen_and_log_and_heals(
    tmp_path: Path, small_disk: Path
) -> None:
    async with real_hall(tmp_path, disk=small_disk) as hall:
        await hall.start()
        await hall.press(1, "sign_on")
        paper = await hall.take_a_number()
        assert "A0001" in paper.text
        ballast = small_disk / "ballast"
        _fill(ballast)
        while await hall.press(1, "pause") == "accepted":
            _fill(ballast)  # what was reserved for the journal's own log was still free
        await hall.shows(1, "系统故障")
        refusals = len([c for c in hall.pigpiod.history if c.pin == REFUSED_PIN and c.level])
        await hall.pigpiod.press(17)
        await until(
            lambda: (
                len([c for c in hall.pigpiod.history if c.pin == REFUSED_PIN and c.level])
                > refusals
            )
        )
        assert "presses are refused until the journal can be written" in hall.log.read_text()
        ballast.unlink()
        assert await hall.press(1, "recall") == "refused", "for nobody is called, not for the disk"
        assert await hall.press(1, "pause") == "accepted"
        paper = await hall.take_a_number()
        assert "A0002" in paper.text
        assert await hall.stop() == 0


def _fill(ballast: Path) -> None:
    """Take all the room that is left."""
    with ballast.open("ab", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))

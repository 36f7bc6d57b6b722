"""How long a bus is deaf to a key: our master and pymodbus's units on a line in virtual time.

A tap is heard when the unit is asked while it lasts. What counts is therefore the longest time
between two looks at a unit's keys, and time here is exact, however busy the machine is.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from random import Random

import pytest

from contract.names import DeviceStatus
from edge.drivers import modbus_bus, modbus_io
from edge.drivers.modbus_bus import BusConfig, ModbusBus
from edge.drivers.modbus_io import ModbusIoConfig, ModbusKeypad
from tests.integration.drivers.modbus_far_end import TimedLine
from tests.integration.drivers.watch import Log, supervised
from tests.support.virtual_time import in_virtual_time

SHORTEST_TAP_SECONDS = 0.080
DESKS = range(1, 7)
TWELVE = range(1, 13)
ROUND_OF_TWELVE_SECONDS = 0.057
"""With the writing of one lamp in it."""


class Bus:
    """The line, its master, and what the master said."""

    def __init__(self, line: TimedLine, master: ModbusBus, log: Log) -> None:
        self.line = line
        self.master = master
        self.log = log

    async def runs(self, seconds: float, but: Iterable[int] = ()) -> dict[int, float]:
        """Let it run. The longest time that each unit, ``but`` some, was not looked at; what is
        still going on at the end counts."""
        units = set(self.line.modules) - set(but)
        begin = _now()
        await asyncio.sleep(seconds)
        longest = {}
        for unit in units:
            looks = [at for at in self.line.asked_at[unit] if at > begin]
            times = [begin, *looks, _now()]
            longest[unit] = max(second - first for first, second in itertools.pairwise(times))
        return longest

    async def back(self, *units: int) -> None:
        self.line.absent.difference_update(units)
        for unit in units:
            await self.log.status(f"unit-{unit}", DeviceStatus.ONLINE)
        await asyncio.sleep(0.2)


@asynccontextmanager
async def running(units: Iterable[int], **options: int) -> AsyncIterator[Bus]:
    """All units of the bus have been found."""
    log = Log()
    line = TimedLine(units)
    config = BusConfig(port="/dev/none", **options)
    bus = ModbusBus("rs485", config, log.on_status, open_link=line.open)
    keypads = []
    for unit in line.modules:
        keypad_config = ModbusIoConfig.model_validate(
            {
                "driver": "modbus_io",
                "role": "caller",
                "window": unit,
                "bus": "rs485",
                "unit": unit,
                "keys": {"call_next": 0},
                "lamps": {"accepted": 0},
            }
        )
        keypad = ModbusKeypad(f"unit-{unit}", keypad_config, bus, log.on_status)
        keypad.on_press(log.press_of(keypad.id))
        keypads.append(keypad)
    async with supervised([bus, *keypads], log):
        for unit in line.modules:
            await log.status(f"unit-{unit}", DeviceStatus.ONLINE)
        await asyncio.sleep(0.5)
        yield Bus(line, bus, log)


@in_virtual_time
async def test_a_tap_is_a_press() -> None:
    """Without this the times below would say nothing of keys."""
    async with running(DESKS) as bus:
        for unit in DESKS:
            bus.line.modules[unit].inputs[0] = True
            await asyncio.sleep(SHORTEST_TAP_SECONDS)
            bus.line.modules[unit].inputs[0] = False
            await asyncio.sleep(SHORTEST_TAP_SECONDS)
        assert bus.log.presses == [(f"unit-{unit}", "call_next") for unit in DESKS]


@in_virtual_time
async def test_a_finger_that_waits_for_a_unit_that_was_away_for_a_moment_is_heard() -> None:
    async with running(DESKS) as bus:
        bus.line.absent.add(2)
        await bus.log.status("unit-2", DeviceStatus.OFFLINE)
        bus.line.modules[2].inputs[0] = True
        await bus.back(2)
        assert bus.log.presses == [("unit-2", "call_next")]


@in_virtual_time
async def test_twelve_units_are_looked_at_in_less_than_the_shortest_tap() -> None:
    async with running(TWELVE) as bus:
        assert max((await bus.runs(10)).values()) < SHORTEST_TAP_SECONDS


@pytest.mark.parametrize("timeout_ms", [10, 60, 1000])
@in_virtual_time
async def test_a_bus_that_finds_out_that_a_unit_is_gone_hears_the_others(timeout_ms: int) -> None:
    """All ways in which it asks after the one that is away."""
    async with running(DESKS, timeout_ms=timeout_ms) as bus:
        bus.line.absent.add(3)
        assert max((await bus.runs(30, but=[3])).values()) < SHORTEST_TAP_SECONDS
        assert bus.log.last("unit-3") is DeviceStatus.OFFLINE
        await bus.back(3)


@pytest.mark.parametrize("gone", [1, 2, 3])
@in_virtual_time
async def test_each_unit_pulled_at_once_with_others_deafens_a_full_bus_by_36_ms_once(
    gone: int,
) -> None:
    """As when the cable of a row of desks comes loose: nobody can know before they are asked."""
    dice = Random(5)
    async with running(TWELVE) as bus:
        for _ in range(5):
            pulled = dice.sample(TWELVE, gone)
            await asyncio.sleep(dice.random())
            bus.line.absent.update(pulled)
            found_out = max((await bus.runs(0.3, but=pulled)).values())
            assert found_out < ROUND_OF_TWELVE_SECONDS + gone * 0.036
            assert max((await bus.runs(2, but=pulled)).values()) < 0.100
            await bus.back(*pulled)


@in_virtual_time
async def test_units_that_missed_one_question_each_are_looked_at_again_in_time() -> None:
    """As when a busy gateway lets the answers of most units wait."""
    async with running(TWELVE) as bus:
        hung = list(TWELVE)[4:]
        bus.line.absent.update(hung)
        asked = len(bus.line.requests)
        while not set(hung) <= {pdu.dev_id for pdu in bus.line.requests[asked:]}:
            await asyncio.sleep(0.001)
        bus.line.absent.clear()
        assert max((await bus.runs(5)).values()) < 0.100


@in_virtual_time
async def test_a_slow_unit_is_found_again_after_an_absence() -> None:
    """It takes longer than a silent unit is mostly waited for."""
    async with running(DESKS, timeout_ms=1000) as bus:
        bus.line.absent.add(2)
        await bus.log.status("unit-2", DeviceStatus.OFFLINE)
        bus.line.answer_seconds[2] = 0.04
        await bus.back(2)


@in_virtual_time
async def test_a_unit_that_falls_silent_is_asked_again_after_all_others() -> None:
    async with running(DESKS) as bus:
        asked_before = len(bus.line.requests)
        bus.line.absent.add(2)
        await bus.runs(30)
        asked = [pdu.dev_id for pdu in bus.line.requests[asked_before:]]
        questions = [index for index, unit in enumerate(asked) if unit == 2]
        assert len(questions) >= 10
        others = set(DESKS) - {2}
        assert all(
            others <= set(asked[first:second]) for first, second in itertools.pairwise(questions)
        )


@in_virtual_time
async def test_a_unit_that_is_away_is_asked_for_ever_and_more_and_more_rarely() -> None:
    async with running(DESKS) as bus:
        bus.line.absent.add(2)
        asked_before = len(bus.line.requests)
        await bus.runs(30)
        early = sum(pdu.dev_id == 2 for pdu in bus.line.requests[asked_before:])
        asked_before = len(bus.line.requests)
        await bus.runs(30)
        late = sum(pdu.dev_id == 2 for pdu in bus.line.requests[asked_before:])
        assert 10 <= late < early


@in_virtual_time
async def test_lamps_are_written_again_by_one_unit_in_a_round_of_polls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(modbus_io, "_REWRITE_SECONDS", 0.0)  # all of them, all the time
    async with running(DESKS) as bus:
        begin = len(bus.line.requests)
        await bus.runs(2)
        kinds = [pdu.function_code for pdu in bus.line.requests[begin:]]
        writes = [index for index, kind in enumerate(kinds) if kind == 15]
        assert len(writes) > len(DESKS)
        assert all(second - first > len(DESKS) for first, second in itertools.pairwise(writes))


@in_virtual_time
async def test_keys_that_were_not_looked_at_for_longer_than_a_tap_are_told_of_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(DESKS, timeout_ms=1000) as bus:
        assert "looks_late" not in bus.master.counters()
        for unit in DESKS:
            bus.line.answer_seconds[unit] = 0.02  # an adapter that hands on every 20 ms
        assert min((await bus.runs(30)).values()) > SHORTEST_TAP_SECONDS
        assert bus.master.counters()["looks_late"] > 100
        (told,) = [record for record in caplog.records if "not looked at" in record.message]
        assert "bus rs485: the keys of unit" in told.message
        await bus.runs(60)
        told_of = [record for record in caplog.records if "not looked at" in record.message]
        assert len(told_of) == 2


@in_virtual_time
async def test_an_outage_of_the_bus_is_no_late_look_at_its_keys(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(DESKS) as bus:
        bus.line.pull()
        await bus.log.status("rs485", DeviceStatus.OFFLINE)
        await asyncio.sleep(3)
        bus.line.plug_in()
        for unit in DESKS:
            await bus.log.status(f"unit-{unit}", DeviceStatus.ONLINE)
        await bus.runs(1)
        assert "looks_late" not in bus.master.counters()
        assert "not looked at" not in caplog.text


@in_virtual_time
async def test_one_poll_of_garbage_at_the_return_of_a_unit_is_no_press() -> None:
    async with running([1]) as bus:
        bus.line.absent.add(1)
        await bus.log.status("unit-1", DeviceStatus.OFFLINE)
        bus.line.modules[1].inputs[0] = True
        bus.line.absent.clear()
        polls = bus.line.modules[1].answers
        while bus.line.modules[1].answers == polls:
            await asyncio.sleep(0.0001)
        bus.line.modules[1].inputs[0] = False  # seen by one poll
        await bus.runs(1)
        assert bus.log.presses == []


@in_virtual_time
async def test_a_bus_on_which_nobody_answers_waits_the_whole_time_out() -> None:
    async with running([1], timeout_ms=1000) as bus:
        bus.line.answer_seconds[1] = 0.9
        assert (await bus.runs(10))[1] < 2.0
        assert bus.log.last("unit-1") is DeviceStatus.ONLINE


def test_the_times_here_are_the_drivers_own() -> None:
    assert modbus_bus.LONGEST_CYCLE_SECONDS < SHORTEST_TAP_SECONDS


def _now() -> float:
    return asyncio.get_running_loop().time()

"""A cable that has just been pulled must not cost anybody else's key a press."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest

from contract.names import DeviceStatus
from edge.drivers.modbus_bus import BusConfig, ModbusBus
from edge.drivers.modbus_io import ModbusIoConfig, ModbusKeypad
from simulator.devices import PtyEndpoint, VirtualIoModule, VirtualModbusBus
from tests.integration.drivers.watch import Log, supervised

UNITS = range(1, 13)
PULLS = 20
TAPS_PER_PULL = 2
TAP_SECONDS = 0.1
WITHIN_SECONDS = 1.0
"""After the pull: while the bus finds out that a unit is gone."""
SLICE_SECONDS = 0.02
KEY = 0


class Line:
    """Twelve callers on one bus: the far end, and what the near end heard of their keys."""

    def __init__(self, far: VirtualModbusBus, log: Log) -> None:
        self.far = far
        self.log = log
        self.taps: list[str] = []

    async def tap(self, unit: int, after: float) -> None:
        """In slices: where this process lies still, the finger does too."""
        await asyncio.sleep(after)
        self.far[unit].hold(KEY)
        self.taps.append(f"unit-{unit}")
        for _ in range(round(TAP_SECONDS / SLICE_SECONDS)):
            await asyncio.sleep(SLICE_SECONDS)
        self.far[unit].release(KEY)

    async def all_heard(self) -> None:
        """Return when every tap was heard, or can't be any more: nothing is asked twice a second
        of a key that was released."""
        try:
            async with asyncio.timeout(5):
                await self.log.until(lambda: len(self.log.presses) >= len(self.taps))
        except TimeoutError:
            pass

    async def back(self, unit: int) -> None:
        self.far[unit].set_absent(False)
        asked = self.far[unit].counters["requests"]
        device = f"unit-{unit}"
        async with asyncio.timeout(20):
            while self.far[unit].counters["requests"] < asked + 2:
                await asyncio.sleep(0.01)
        await self.log.status(device, DeviceStatus.ONLINE)


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    log = Log()
    far = VirtualModbusBus(PtyEndpoint(tmp_path / "rs485"), [VirtualIoModule(u) for u in UNITS])
    async with AsyncExitStack() as stack:
        await far.start()
        stack.push_async_callback(far.stop)
        bus = ModbusBus("rs485", BusConfig(port=far.endpoint.url), log.on_status)
        keypads = []
        for unit in UNITS:
            config = ModbusIoConfig.model_validate(
                {
                    "driver": "modbus_io",
                    "role": "caller",
                    "window": unit,
                    "bus": "rs485",
                    "unit": unit,
                    "keys": {"call_next": KEY},
                    "lamps": {"accepted": 0},
                }
            )
            keypad = ModbusKeypad(f"unit-{unit}", config, bus, log.on_status)
            keypad.on_press(log.press_of(keypad.id))
            keypads.append(keypad)
        await stack.enter_async_context(supervised([bus, *keypads]))
        for unit in UNITS:
            await log.status(f"unit-{unit}", DeviceStatus.ONLINE)
        yield Line(far, log)


async def test_a_tap_is_heard_while_the_bus_finds_out_that_another_unit_was_pulled(
    line: Line,
) -> None:
    dice = Random(5)
    for _ in range(PULLS):
        pulled, *tapped = dice.sample(UNITS, 1 + TAPS_PER_PULL)
        line.far[pulled].set_absent()
        await asyncio.gather(*(line.tap(unit, dice.uniform(0, WITHIN_SECONDS)) for unit in tapped))
        await line.all_heard()
        heard = [device for device, _ in line.log.presses]
        assert sorted(heard) == sorted(line.taps)
        await line.back(pulled)


async def test_a_tap_is_heard_while_three_units_at_once_are_away(line: Line) -> None:
    """As when the cable of a row of desks comes loose."""
    dice = Random(6)
    for _ in range(4):
        *pulled, one, other = dice.sample(UNITS, 5)
        for unit in pulled:
            line.far[unit].set_absent()
        await asyncio.gather(
            *(line.tap(unit, dice.uniform(0, WITHIN_SECONDS)) for unit in (one, other))
        )
        await line.all_heard()
        heard = [device for device, _ in line.log.presses]
        assert sorted(heard) == sorted(line.taps)
        for unit in pulled:
            await line.back(unit)


async def test_taps_are_heard_as_soon_as_a_line_that_hung_for_a_moment_is_well_again(
    line: Line,
) -> None:
    """As when a busy gateway lets the answers of most units wait: each has missed one."""
    hung = UNITS[4:]
    for _ in range(5):
        unanswered = line.far.counters["frames_not_mine"]
        for unit in hung:
            line.far[unit].set_absent()
        async with asyncio.timeout(20):
            while line.far.counters["frames_not_mine"] < unanswered + len(hung):
                await asyncio.sleep(0.001)
        for unit in hung:
            line.far[unit].set_absent(False)
        await asyncio.gather(*(line.tap(unit, 0.0) for unit in hung))
        await line.all_heard()
        heard = [device for device, _ in line.log.presses]
        assert sorted(heard) == sorted(line.taps)
        for unit in hung:
            await line.back(unit)

"""A driver that crashed is at fault, and online again as soon as it works: the hall's own wiring of
devices, supervisors and buses, with a bug in the hall's side of a callback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from contract.names import DeviceId, DeviceStatus
from edge.drivers.modbus_bus import BusConfig
from edge.drivers.registry import drivers
from edge.hardware import Hardware
from simulator.devices.bx_screen import VirtualBxScreen
from simulator.devices.endpoint import TcpEndpoint
from simulator.devices.pigpiod import VirtualPigpiod
from simulator.devices.printer import VirtualPrinter
from tests.integration.drivers.modbus_far_end import FarEnd
from tests.integration.drivers.watch import TIMEOUT, Log

KEYS = {"call_next": 4, "recall": 5}
"""Pins, and inputs of the module."""


class Bug(Exception):
    pass


class Hall:
    """A device of each driver; ``bug_at`` has the next report of this status fail."""

    def __init__(self, folder: Path) -> None:
        self.log = Log()
        self.bug_at: tuple[DeviceId, DeviceStatus] | None = None
        self.pins = VirtualPigpiod()
        self.bus = FarEnd(folder, [1])
        self.printer = VirtualPrinter(TcpEndpoint())
        self.screen = VirtualBxScreen(TcpEndpoint())
        self.hardware: Hardware

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for far in (self.pins, self.printer, self.screen):
                await far.start()
                stack.push_async_callback(far.stop)
            await stack.enter_async_context(self.bus)
            known = drivers()
            self.hardware = Hardware(
                {
                    name: known[table["driver"]].config.model_validate(table)
                    for name, table in self._tables().items()
                },
                {"rs485": BusConfig(port=self.bus.plug.path)},
                self._on_status,
            )
            tasks = [asyncio.create_task(each.run()) for each in self.hardware.supervisors.values()]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _tables(self) -> dict[DeviceId, dict[str, Any]]:
        caller = {"role": "caller", "window": 1, "keys": KEYS}
        pins = f"127.0.0.1:{self.pins.port}"
        return {
            "on-pins": {"driver": "gpio", "pigpio": pins, **caller},
            "on-bus": {"driver": "modbus_io", "bus": "rs485", "unit": 1, **caller},
            "printer": {
                "driver": "escpos",
                "role": "printer",
                "port": self.printer.endpoint.url,
            },
            "screen": {
                "driver": "onbon_bx",
                "role": "call_screen",
                "window": 1,
                "port": self.screen.endpoint.url,
            },
        }

    def _on_status(self, device: DeviceId, status: DeviceStatus, detail: str) -> None:
        self.log.on_status(device, status, detail)
        if self.bug_at == (device, status):
            self.bug_at = None
            raise Bug

    def statuses(self, device: DeviceId) -> list[DeviceStatus]:
        return [status for name, status in self.log.statuses if name == device]

    def crashes(self, device: DeviceId) -> int:
        return self.hardware.supervisors[device].counters().get("crashed", 0)

    def level(self, key: str, down: bool) -> None:
        """Of this key on the pins and on the bus."""
        self.pins.hold(KEYS[key]) if down else self.pins.release(KEYS[key])
        self.bus.modules[1].inputs[KEYS[key]] = down

    async def tap_until_heard(self, device: DeviceId, key: str) -> None:
        async with asyncio.timeout(TIMEOUT):
            while (device, key) not in self.log.presses:
                self.level(key, True)
                await asyncio.sleep(0.1)
                self.level(key, False)
                await asyncio.sleep(0.1)


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[Hall]:
    hall = Hall(tmp_path)
    async with hall.open():
        yield hall


@pytest.mark.parametrize("device", ["on-pins", "rs485", "printer", "screen"])
async def test_a_driver_that_crashed_as_it_came_online_is_online_as_soon_as_it_works(
    hall: Hall, device: DeviceId
) -> None:
    hall.bug_at = (device, DeviceStatus.ONLINE)
    await hall.log.until(lambda: DeviceStatus.FAULT in hall.statuses(device))
    await hall.log.status(device, DeviceStatus.ONLINE)
    assert hall.crashes(device) == 1


@pytest.mark.parametrize(
    ("keypad", "crashing"), [("on-pins", "on-pins"), ("on-bus", "rs485")], ids=["gpio", "modbus"]
)
async def test_a_keypad_whose_press_crashed_a_driver_is_away_and_then_online_and_heard(
    hall: Hall, keypad: DeviceId, crashing: DeviceId
) -> None:
    """The key is held all the while: what is down at the reopening was not pressed now."""
    pad = hall.hardware.keypads[keypad]

    def crash(key: str, at: float) -> None:
        pad.on_press(hall.log.press_of(keypad))
        raise Bug

    pad.on_press(crash)
    await hall.log.status(keypad, DeviceStatus.ONLINE)
    # A key that is down when it is seen for the first time is not pressed either.
    while not hall.crashes(crashing):
        hall.level("call_next", False)
        await asyncio.sleep(0.1)
        hall.level("call_next", True)
        await asyncio.sleep(0.1)
    await hall.log.until(lambda: DeviceStatus.OFFLINE in hall.statuses(keypad))
    for device in {keypad, crashing}:
        await hall.log.status(device, DeviceStatus.ONLINE)
    await hall.tap_until_heard(keypad, "recall")
    assert hall.log.presses == [(keypad, "recall")]
    hall.level("call_next", False)
    await hall.tap_until_heard(keypad, "call_next")
    assert hall.crashes(crashing) == 1
    assert DeviceStatus.FAULT in hall.statuses(crashing)

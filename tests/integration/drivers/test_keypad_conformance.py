"""The contract of ``roles.Keypad``, the same for every wire that keys and lamps can be on.

Far ends: gpiozero's mock pins, a pigpio daemon on TCP, and an I/O module whose frames pymodbus
makes, on a line in virtual time (on ptys it is in ``test_modbus_bus``). A finger here is never
quicker than a busy machine: it waits until its movement has arrived, and only then begins to rest.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

import pytest
from gpiozero.pins.mock import MockFactory

from contract.names import DeviceStatus
from edge.drivers import keys
from edge.drivers.gpio import GpioConfig, GpioKeypad
from edge.drivers.modbus_bus import BusConfig, ModbusBus
from edge.drivers.modbus_io import ModbusIoConfig, ModbusKeypad
from edge.drivers.roles import Device, Keypad, LampPattern
from simulator.devices.pigpiod import VirtualPigpiod
from tests.integration.drivers.modbus_far_end import TimedLine
from tests.integration.drivers.watch import TIMEOUT, Log, supervised
from tests.support.virtual_time import in_virtual_time

KEYS = {"call_next": 4, "recall": 5, "finish": 6}
LAMPS = {"accepted": 1, "refused": 2}
"""GPIO pins, and inputs and outputs of the module."""
COMMON = {"role": "caller", "window": 3, "keys": KEYS, "lamps": LAMPS}


class Rig(Protocol):
    """A keypad and the people's side of it."""

    keypad: Keypad
    devices: Iterable[Device]

    def level(self, key: str, down: bool) -> None:
        """A finger goes down on the key, or up."""
        ...

    async def arrived(self) -> None:
        """The driver knows of the last movement, and when it was."""
        ...

    def lit(self, lamp: str) -> bool: ...

    async def lose(self) -> None:
        """The wire is cut."""
        ...

    async def restore(self) -> None: ...


class MockPins:
    def __init__(self, log: Log) -> None:
        self.board = MockFactory()
        config = GpioConfig.model_validate({"driver": "gpio", **COMMON})
        self.keypad = GpioKeypad("pad", config, log.on_status, make_factory=lambda: self.board)
        self.devices = [self.keypad]

    def level(self, key: str, down: bool) -> None:
        pin = self.board.pin(KEYS[key])
        pin.drive_low() if down else pin.drive_high()

    async def arrived(self) -> None:
        """It has: these pins call the driver themselves."""

    def lit(self, lamp: str) -> bool:
        return bool(self.board.pin(LAMPS[lamp]).state)

    async def lose(self) -> None:
        pytest.skip("pins in this machine can't be lost")

    async def restore(self) -> None: ...


class RemotePins:
    def __init__(self, log: Log, far: VirtualPigpiod) -> None:
        self.far = far
        address = f"127.0.0.1:{far.port}"
        config = GpioConfig.model_validate({"driver": "gpio", "pigpio": address, **COMMON})
        self.keypad = GpioKeypad("pad", config, log.on_status)
        self.devices = [self.keypad]
        self._edges = 0
        """When the last movement has arrived."""

    def level(self, key: str, down: bool) -> None:
        self._edges = self.keypad.counters()["edges"] + 1
        self.far.hold(KEYS[key]) if down else self.far.release(KEYS[key])

    async def arrived(self) -> None:
        await until(lambda: self.keypad.counters()["edges"] >= self._edges)

    def lit(self, lamp: str) -> bool:
        return self.far.level(LAMPS[lamp])

    async def lose(self) -> None:
        self.far.unplug()

    async def restore(self) -> None:
        self.far.plug()


class Module:
    def __init__(self, log: Log) -> None:
        self.line = TimedLine([13])
        self.far = self.line.modules[13]
        table = {"driver": "modbus_io", "bus": "rs485", "unit": 13, **COMMON}
        config = ModbusIoConfig.model_validate(table)
        bus_config = BusConfig(port="/dev/none")
        bus = ModbusBus("rs485", bus_config, log.on_status, open_link=self.line.open)
        self.keypad = ModbusKeypad("pad", config, bus, log.on_status)
        self.devices = [bus, self.keypad]

    def level(self, key: str, down: bool) -> None:
        self.far.inputs[KEYS[key]] = down

    async def arrived(self) -> None:
        await self.far.polls(2)  # one may be on its way

    def lit(self, lamp: str) -> bool:
        return self.far.outputs[LAMPS[lamp]]

    async def lose(self) -> None:
        self.line.pull()
        self.far.outputs = [False] * 8  # the module had its power from the same cable

    async def restore(self) -> None:
        self.line.plug_in()


@asynccontextmanager
async def in_service(wire: str, log: Log) -> AsyncIterator[Rig]:
    """Online, and its presses in ``log``."""
    async with AsyncExitStack() as stack:
        if wire == "mock pins":
            pins = MockPins(log)
            stack.callback(pins.board.reset)
            rig: Rig = pins
        elif wire == "remote pins":
            far = VirtualPigpiod()
            await far.start()
            stack.push_async_callback(far.stop)
            rig = RemotePins(log, far)
        else:
            rig = Module(log)
        rig.keypad.on_press(log.press_of("pad"))
        await stack.enter_async_context(supervised(rig.devices, log))
        await log.status("pad", DeviceStatus.ONLINE)
        yield rig


def on_every_wire(test: Callable[[Rig, Log], Awaitable[None]]) -> Callable[[str], None]:
    async def on_wire(wire: str) -> None:
        log = Log()
        async with in_service(wire, log) as rig:
            await test(rig, log)

    def run(wire: str) -> None:
        if wire == "module":
            in_virtual_time(on_wire)(wire)
        else:
            asyncio.run(on_wire(wire))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return pytest.mark.parametrize("wire", ["mock pins", "remote pins", "module"])(run)


async def tap(rig: Rig, *keys: str, seconds: float = 0.1) -> None:
    for down, rest in ((True, seconds), (False, 0.15)):
        for key in keys:
            rig.level(key, down)
            await rig.arrived()
        await asyncio.sleep(rest)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await asyncio.sleep(0.005)


def keys_of(log: Log) -> list[str]:
    return [key for _, key in log.presses]


@on_every_wire
async def test_a_tap_is_one_press_with_the_name_of_its_key(rig: Rig, log: Log) -> None:
    await tap(rig, "recall")
    await log.until(lambda: keys_of(log) == ["recall"])
    await tap(rig, "call_next")
    await log.until(lambda: keys_of(log) == ["recall", "call_next"])


@in_virtual_time
async def test_after_a_clean_stop_no_lamp_of_a_module_says_ready() -> None:
    log = Log()
    async with in_service("module", log) as rig:
        rig.keypad.set_lamp("accepted", LampPattern.ON)
        rig.keypad.set_lamp("refused", LampPattern.ON)
        await until(lambda: rig.lit("accepted") and rig.lit("refused"))
    assert not rig.lit("accepted")
    assert not rig.lit("refused")


@on_every_wire
async def test_ten_taps_are_ten_presses(rig: Rig, log: Log) -> None:
    for _ in range(10):
        await tap(rig, "call_next")
    await log.until(lambda: len(log.presses) == 10)
    await tap(rig, "finish")
    await log.until(lambda: keys_of(log)[10:] == ["finish"])


@on_every_wire
async def test_a_held_key_is_one_press(rig: Rig, log: Log) -> None:
    rig.level("call_next", True)
    await asyncio.sleep(1.0)
    rig.level("call_next", False)
    await rig.arrived()
    await asyncio.sleep(0.15)
    await tap(rig, "finish")
    await log.until(lambda: "finish" in keys_of(log))
    assert keys_of(log) == ["call_next", "finish"]


@on_every_wire
async def test_leaning_on_all_keys_presses_each_once(rig: Rig, log: Log) -> None:
    await tap(rig, *KEYS, seconds=0.5)
    await log.until(lambda: len(log.presses) >= len(KEYS))
    assert sorted(keys_of(log)) == sorted(KEYS)


@on_every_wire
async def test_a_key_held_for_more_than_10_s_is_stuck_until_released_and_others_still_count(
    rig: Rig, log: Log
) -> None:
    rig.level("call_next", True)
    await until(lambda: log.last("pad") is DeviceStatus.STUCK_KEY)
    await tap(rig, "finish")
    await log.until(lambda: keys_of(log) == ["call_next", "finish"])
    rig.level("call_next", False)
    await log.status("pad", DeviceStatus.ONLINE)
    await tap(rig, "call_next")
    await log.until(lambda: keys_of(log) == ["call_next", "finish", "call_next"])


@on_every_wire
async def test_the_callback_that_was_set_last_is_called(rig: Rig, log: Log) -> None:
    pressed: list[str] = []
    rig.keypad.on_press(lambda key, _: pressed.append(key))
    await tap(rig, "recall")
    await until(lambda: pressed == ["recall"])
    assert log.presses == []


@on_every_wire
async def test_lamps_are_those_that_are_wired_and_another_does_nothing(rig: Rig, log: Log) -> None:
    assert rig.keypad.lamps() == set(LAMPS)
    rig.keypad.set_lamp("moon", LampPattern.ON)
    rig.keypad.set_lamp("accepted", LampPattern.ON)
    await until(lambda: rig.lit("accepted"))
    assert not rig.lit("refused")


@on_every_wire
async def test_a_lamp_goes_on_and_off(rig: Rig, log: Log) -> None:
    rig.keypad.set_lamp("refused", LampPattern.ON)
    await until(lambda: rig.lit("refused"))
    rig.keypad.set_lamp("refused", LampPattern.OFF)
    await until(lambda: not rig.lit("refused"))


@on_every_wire
async def test_a_blinking_lamp_changes_until_it_is_told_otherwise(rig: Rig, log: Log) -> None:
    rig.keypad.set_lamp("accepted", LampPattern.BLINK)
    for _ in range(2):
        await until(lambda: rig.lit("accepted"))
        await until(lambda: not rig.lit("accepted"))
    rig.keypad.set_lamp("accepted", LampPattern.ON)
    await until(lambda: rig.lit("accepted"))


@on_every_wire
async def test_a_flash_is_seen_and_leaves_what_was_there(rig: Rig, log: Log) -> None:
    rig.keypad.set_lamp("refused", LampPattern.FLASH)
    await until(lambda: rig.lit("refused"))
    await until(lambda: not rig.lit("refused"))


@on_every_wire
async def test_setting_a_lamp_returns_at_once_and_the_last_wish_wins(rig: Rig, log: Log) -> None:
    for _ in range(100):
        rig.keypad.set_lamp("accepted", LampPattern.ON)
        rig.keypad.set_lamp("accepted", LampPattern.OFF)
    rig.keypad.set_lamp("accepted", LampPattern.ON)
    await until(lambda: rig.lit("accepted"))


@on_every_wire
async def test_a_lost_wire_is_offline_and_comes_back_with_lamps_and_keys(
    rig: Rig, log: Log
) -> None:
    rig.keypad.set_lamp("accepted", LampPattern.ON)
    await until(lambda: rig.lit("accepted"))
    await rig.lose()
    await log.status("pad", DeviceStatus.OFFLINE)
    rig.keypad.set_lamp("accepted", LampPattern.OFF)
    rig.keypad.set_lamp("refused", LampPattern.ON)
    await rig.restore()
    await log.status("pad", DeviceStatus.ONLINE)
    await until(lambda: rig.lit("refused") and not rig.lit("accepted"))
    await tap(rig, "finish")
    await log.until(lambda: keys_of(log) == ["finish"])


@on_every_wire
async def test_a_key_that_is_held_while_the_wire_is_lost_is_no_second_press(
    rig: Rig, log: Log
) -> None:
    rig.level("call_next", True)
    await log.until(lambda: keys_of(log) == ["call_next"])
    await rig.lose()
    await log.status("pad", DeviceStatus.OFFLINE)
    await rig.restore()
    await log.status("pad", DeviceStatus.ONLINE)
    await tap(rig, "finish")
    await log.until(lambda: "finish" in keys_of(log))
    assert keys_of(log) == ["call_next", "finish"]


@on_every_wire
async def test_a_key_that_went_down_while_the_wire_was_lost_for_a_moment_is_a_press(
    rig: Rig, log: Log
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "SHORT_ABSENCE_SECONDS", 60.0)
        await rig.lose()
        await log.status("pad", DeviceStatus.OFFLINE)
        rig.level("call_next", True)
        await rig.restore()
        await log.until(lambda: keys_of(log) == ["call_next"])


@on_every_wire
async def test_a_key_that_went_down_while_the_wire_was_lost_for_long_is_no_press(
    rig: Rig, log: Log
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "SHORT_ABSENCE_SECONDS", 0.0)
        await rig.lose()
        await log.status("pad", DeviceStatus.OFFLINE)
        rig.level("call_next", True)
        await rig.restore()
        await log.status("pad", DeviceStatus.ONLINE)
        await tap(rig, "finish")
        await log.until(lambda: "finish" in keys_of(log))
        rig.level("call_next", False)
        await rig.arrived()
        await asyncio.sleep(0.15)
        await tap(rig, "call_next")
        await log.until(lambda: "call_next" in keys_of(log))
        assert keys_of(log) == ["finish", "call_next"]


@on_every_wire
async def test_statuses_are_said_once_per_change(rig: Rig, log: Log) -> None:
    await tap(rig, "finish")
    await rig.lose()
    await log.status("pad", DeviceStatus.OFFLINE)
    await asyncio.sleep(0.5)  # several tries to reopen
    await rig.restore()
    await log.status("pad", DeviceStatus.ONLINE)
    seen = [status for device, status in log.statuses if device == "pad"]
    assert seen == [DeviceStatus.ONLINE, DeviceStatus.OFFLINE, DeviceStatus.ONLINE]


@on_every_wire
async def test_counters_count_presses(rig: Rig, log: Log) -> None:
    await tap(rig, "finish")
    await log.until(lambda: len(log.presses) == 1)
    assert rig.keypad.counters()["presses"] == 1

"""What a keypad on an I/O module wants of its bus, without a bus."""

import asyncio
from math import inf

import pytest

from contract.names import DeviceId, DeviceStatus
from edge.drivers.config import Role
from edge.drivers.keys import BLINK_SECONDS, FLASH_SECONDS
from edge.drivers.modbus_bus import BusConfig, ModbusBus
from edge.drivers.modbus_io import ModbusIoConfig, ModbusKeypad
from edge.drivers.modbus_rtu import Reply, Request
from edge.drivers.roles import LampPattern


def now() -> float:
    return asyncio.get_running_loop().time()


def _ignore(device: DeviceId, status: DeviceStatus, detail: str) -> None:
    pass


def keypads(count: int) -> list[ModbusKeypad]:
    bus = ModbusBus("bus", BusConfig(port="/dev/ttyUSB0"), _ignore)
    return [
        ModbusKeypad(
            f"caller-{unit}",
            ModbusIoConfig(
                driver="modbus_io",
                role=Role.CALLER,
                window=unit,
                bus="bus",
                unit=unit,
                keys={"call_next": 0},
                lamps={"accepted": 0},
            ),
            bus,
            _ignore,
        )
        for unit in range(1, count + 1)
    ]


def confirm(keypad: ModbusKeypad, request: Request | None, at: float) -> bool:
    """Answer what the keypad wants to be written; whether it wanted anything."""
    if request is None:
        return False
    reply = Reply(request.unit, request.function, request.address, request.count)
    keypad.answered(request, reply, at)
    return True


def test_lamps_that_were_confirmed_are_left_alone_for_a_while_and_written_again() -> None:
    (keypad,) = keypads(1)
    assert confirm(keypad, keypad.wish(0.0), 0.0)
    assert keypad.wish(100.0) is None
    assert keypad.next_wish(0.0) == inf, "no need to ask again"
    assert keypad.upkeep(4.9) is None
    assert confirm(keypad, keypad.upkeep(5.0), 5.0)
    assert keypad.upkeep(9.9) is None


async def test_a_lamp_that_blinks_tells_when_it_will_want_to_be_written() -> None:
    (keypad,) = keypads(1)
    before = now()
    keypad.set_lamp("accepted", LampPattern.BLINK)
    after = now()
    assert confirm(keypad, keypad.wish(after), after)
    change = keypad.next_wish(after)
    assert before + BLINK_SECONDS <= change <= after + BLINK_SECONDS
    assert keypad.wish(change) is not None


async def test_a_flash_that_could_not_be_written_in_time_is_still_shown_for_its_length() -> None:
    (keypad,) = keypads(1)
    keypad.set_lamp("accepted", LampPattern.FLASH)
    at = now()
    assert keypad.wish(at) is not None, "and this write is lost"
    late = keypad.wish(at + 1.0)
    assert late is not None
    assert late.values[0] == 1
    assert confirm(keypad, late, at + 1.1)
    assert keypad.wish(at + 1.2) is None
    end = keypad.next_wish(at + 1.2)
    assert end == at + 1.1 + FLASH_SECONDS
    dark = keypad.wish(end)
    assert dark is not None
    assert dark.values[0] == 0


async def test_a_flash_lasts_from_now_when_its_lamp_is_lit_already() -> None:
    (keypad,) = keypads(1)
    keypad.set_lamp("accepted", LampPattern.FLASH)
    at = now()
    assert confirm(keypad, keypad.wish(at), at)
    keypad.set_lamp("accepted", LampPattern.FLASH)
    assert keypad.wish(at) is None, "it is lit already"
    assert at + FLASH_SECONDS < keypad.next_wish(at) <= at + 2 * FLASH_SECONDS


async def test_flashes_that_wait_for_the_bus_together_are_shown_one_after_the_other() -> None:
    (keypad,) = keypads(1)
    for _ in range(3):
        keypad.set_lamp("accepted", LampPattern.FLASH)
    at = now() + 1.0
    assert confirm(keypad, keypad.wish(at), at)
    assert keypad.wish(at) is None
    assert keypad.next_wish(at) == pytest.approx(at + 3 * FLASH_SECONDS)


async def test_a_flash_that_nobody_could_see_for_long_is_forgotten() -> None:
    (keypad,) = keypads(1)
    keypad.set_lamp("accepted", LampPattern.FLASH)
    assert keypad.wish(now()) is not None
    late = keypad.wish(now() + 60.0)
    assert late is not None
    assert late.values[0] == 0

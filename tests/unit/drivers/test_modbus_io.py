"""What a keypad on an I/O module wants of its bus, without a bus."""

from contract.names import DeviceId, DeviceStatus
from edge.drivers.config import Role
from edge.drivers.modbus_bus import BusConfig, ModbusBus
from edge.drivers.modbus_io import ModbusIoConfig, ModbusKeypad
from edge.drivers.modbus_rtu import Reply

CYCLE_SECONDS = 0.06


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


def confirm(keypad: ModbusKeypad, at: float) -> bool:
    """Write the lamps if that is wanted; whether it was."""
    request = keypad.wish(at)
    if request is None:
        return False
    reply = Reply(request.unit, request.function, request.address, request.count)
    keypad.answered(request, reply, at)
    return True


def test_lamps_that_were_confirmed_are_left_alone_for_a_while_and_written_again() -> None:
    (keypad,) = keypads(1)
    assert confirm(keypad, 0.0)
    assert not any(confirm(keypad, tick * CYCLE_SECONDS) for tick in range(1, 80))
    assert any(confirm(keypad, tick * CYCLE_SECONDS) for tick in range(80, 200))


def test_the_units_of_a_bus_do_not_all_write_their_lamps_in_the_same_cycle() -> None:
    units = keypads(16)
    assert all(confirm(keypad, 0.0) for keypad in units), "at the start all of them write"
    in_a_cycle = [
        sum(confirm(keypad, tick * CYCLE_SECONDS) for keypad in units) for tick in range(1, 1000)
    ]
    assert sum(in_a_cycle) > len(units), "each was written again"
    assert max(in_a_cycle) <= len(units) // 2
    assert max(in_a_cycle[:120]) <= 2, "in the first round they come one by one"

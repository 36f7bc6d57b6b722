"""Our Modbus master on real ptys: against pymodbus's codec and server, and against libmodbus."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from contract.names import DeviceStatus
from edge.drivers.modbus_bus import BusConfig, ModbusBus, poll_cycle_seconds
from edge.drivers.modbus_io import ModbusIoConfig, ModbusKeypad
from edge.drivers.modbus_rtu import read_inputs
from edge.drivers.roles import LampPattern
from tests.integration.drivers.modbus_far_end import FarEnd
from tests.integration.drivers.watch import Log, supervised


def keypad_config(unit: int) -> ModbusIoConfig:
    return ModbusIoConfig.model_validate(
        {
            "driver": "modbus_io",
            "role": "caller",
            "window": unit,
            "bus": "rs485",
            "unit": unit,
            "keys": {"call_next": 0, "recall": 1},
            "lamps": {"accepted": 0, "refused": 1},
        }
    )


@asynccontextmanager
async def bus_of(
    port: str, units: list[int], log: Log, **options: int
) -> AsyncIterator[tuple[ModbusBus, dict[int, ModbusKeypad]]]:
    """A bus and its keypads, supervised; device names are ``unit-N``."""
    bus = ModbusBus("rs485", BusConfig(port=port, **options), log.on_status)
    keypads = {}
    for unit in units:
        keypad = ModbusKeypad(f"unit-{unit}", keypad_config(unit), bus, log.on_status)
        keypad.on_press(log.press_of(keypad.id))
        keypads[unit] = keypad
    async with supervised([bus, *keypads.values()], log):
        yield bus, keypads


async def test_keys_of_many_units_are_heard_and_lamps_are_lit(tmp_path: Path) -> None:
    log = Log()
    units = [1, 2, 17, 247]
    async with (
        FarEnd(tmp_path, units) as far,
        bus_of(far.plug.path, units, log) as (_, keypads),
    ):
        for unit in units:
            await log.status(f"unit-{unit}", DeviceStatus.ONLINE)
            await far.modules[unit].polls(2)
            far.modules[unit].inputs[1] = True
            keypads[unit].set_lamp("accepted", LampPattern.ON)
        await log.until(lambda: len(log.presses) == len(units))
        for unit in units:
            await far.modules[unit].output(0, True)
            assert far.modules[unit].outputs == [True] + [False] * 7
    assert sorted(log.presses) == sorted((f"unit-{unit}", "recall") for unit in units)


async def test_many_absent_units_leave_no_lamp_of_the_others_lit_at_a_stop(
    tmp_path: Path,
) -> None:
    log = Log()
    absent, present = list(range(1, 41)), [101, 102, 103]
    async with FarEnd(tmp_path, present) as far:
        async with bus_of(far.plug.path, [*absent, *present], log) as (_, keypads):
            for unit in present:
                keypads[unit].set_lamp("accepted", LampPattern.ON)
                await far.modules[unit].output(0, True)
            await log.status("unit-40", DeviceStatus.OFFLINE)
        for unit in present:
            await far.modules[unit].output(0, False)


async def test_an_absent_unit_is_offline_and_back_online_with_its_lamps_as_they_should_be(
    tmp_path: Path,
) -> None:
    log = Log()
    async with FarEnd(tmp_path, [1, 2]) as far, bus_of(far.plug.path, [1, 2], log) as (_, pads):
        pads[2].set_lamp("accepted", LampPattern.ON)
        await far.modules[2].output(0, True)
        far.absent.add(2)
        await log.status("unit-2", DeviceStatus.OFFLINE)
        assert log.last("unit-1") is DeviceStatus.ONLINE
        far.modules[2].outputs = [False] * 8  # it lost its power
        pads[2].set_lamp("refused", LampPattern.ON)
        far.absent.clear()
        await log.status("unit-2", DeviceStatus.ONLINE)
        await far.modules[2].output(0, True)
        await far.modules[2].output(1, True)


async def test_a_cable_that_comes_loose_and_comes_back_heals_by_itself(tmp_path: Path) -> None:
    log = Log()
    async with FarEnd(tmp_path, [1, 2]) as far, bus_of(far.plug.path, [1, 2], log) as (_, pads):
        pads[1].set_lamp("accepted", LampPattern.ON)
        await far.modules[1].output(0, True)
        await far.pull()
        for device in ("rs485", "unit-1", "unit-2"):
            await log.status(device, DeviceStatus.OFFLINE)
        far.modules[1].outputs = [False] * 8
        far.plug_in()
        for device in ("rs485", "unit-1", "unit-2"):
            await log.status(device, DeviceStatus.ONLINE)
        await far.modules[1].output(0, True)
        await far.modules[2].polls(2)
        far.modules[2].inputs[0] = True
        await log.until(lambda: log.presses == [("unit-2", "call_next")])


async def test_noise_and_damaged_answers_are_counted_and_cost_nothing(tmp_path: Path) -> None:
    log = Log()
    async with FarEnd(tmp_path, [1]) as far, bus_of(far.plug.path, [1], log) as (bus, _):
        far.noise = b"\x00\xff\x01"
        await far.modules[1].polls(5)
        far.damage = 1
        await far.modules[1].polls(3)
        far.modules[1].inputs[0] = True
        await log.until(lambda: log.presses == [("unit-1", "call_next")])
        counters = bus.counters()
        assert counters["bytes_garbage"] >= 3 * 5
        assert counters["replies_damaged"] == 1
    assert [status for device, status in log.statuses if device == "unit-1"] == [
        DeviceStatus.ONLINE
    ]


async def test_a_module_that_refuses_a_write_is_faulty_and_its_keys_still_count(
    tmp_path: Path,
) -> None:
    log = Log()
    async with FarEnd(tmp_path, [1]) as far, bus_of(far.plug.path, [1], log):
        far.modules[1].refuses_writes = True
        await log.status("unit-1", DeviceStatus.FAULT)
        await far.modules[1].polls(2)
        far.modules[1].inputs[0] = True
        await log.until(lambda: log.presses == [("unit-1", "call_next")])
        far.modules[1].refuses_writes = False
        await log.status("unit-1", DeviceStatus.ONLINE)


async def test_a_flood_from_a_gateway_does_not_hold_up_the_event_loop() -> None:
    log = Log()

    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while True:
                writer.write(b"\x01\x02" * 32_768)
                await writer.drain()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with bus_of(f"socket://127.0.0.1:{port}", [1], log) as (bus, _):
        await log.status("unit-1", DeviceStatus.OFFLINE)
        assert bus.counters()["bytes_garbage"] > 0
    server.close()


async def test_two_keypads_with_one_address_are_a_mistake_that_is_named(tmp_path: Path) -> None:
    log = Log()
    bus = ModbusBus("rs485", BusConfig(port="/dev/none"), log.on_status)
    bus.register(ModbusKeypad("a", keypad_config(3), bus, log.on_status))
    with pytest.raises(ValueError, match="bus rs485: unit 3 is there twice"):
        bus.register(ModbusKeypad("b", keypad_config(3), bus, log.on_status))


@pytest.mark.parametrize(
    ("units", "baud", "measured"),
    [
        (8, 9600, 0.155),
        (8, 38400, 0.056),
        (8, 115200, 0.032),
        (16, 9600, 0.308),
        (16, 38400, 0.108),
        (16, 115200, 0.059),
    ],
)
def test_the_computed_cycle_is_within_15_percent_of_measured_ones(
    units: int, baud: int, measured: float
) -> None:
    polls = [read_inputs(unit, 0, 8) for unit in range(1, units + 1)]
    assert poll_cycle_seconds(baud, polls) == pytest.approx(measured, rel=0.15)


async def test_the_silence_between_two_transactions_is_kept(tmp_path: Path) -> None:
    """Seen by the far end, whose clock is ours; at 9600 baud 3.5 characters are 4 ms."""
    log = Log()
    gaps: list[float] = []
    async with FarEnd(tmp_path, [1]) as far:
        answered = [0.0]
        whole = far._answer

        async def noting(pdu: object) -> None:
            gaps.append(time.monotonic() - answered[0])
            await whole(pdu)  # type: ignore[arg-type]
            answered[0] = time.monotonic()

        far._answer = noting  # type: ignore[method-assign,assignment]
        async with bus_of(far.plug.path, [1], log, baud=9600, poll_ms=5):
            await far.modules[1].polls(20)
    assert min(gaps[1:]) >= 0.0035

"""The virtual bus against libmodbus (mbpoll) and pymodbus."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from pymodbus import FramerType
from pymodbus.client import AsyncModbusTcpClient

from simulator.devices import PtyEndpoint, TcpEndpoint, VirtualIoModule, VirtualModbusBus

Until = Callable[[VirtualModbusBus, Callable[[], bool]], Awaitable[None]]


@pytest.fixture
async def bus() -> AsyncIterator[VirtualModbusBus]:
    device = VirtualModbusBus(TcpEndpoint(), [VirtualIoModule(1), VirtualIoModule(2)])
    await device.start()
    yield device
    await device.stop()


@pytest.fixture
async def client(bus: VirtualModbusBus) -> AsyncIterator[AsyncModbusTcpClient]:
    assert isinstance(bus.endpoint, TcpEndpoint)
    master = AsyncModbusTcpClient(
        "127.0.0.1",
        port=bus.endpoint.port,
        framer=FramerType.RTU,
        timeout=5,
        retries=1,
        reconnect_delay=0.05,
        reconnect_delay_max=0.2,
    )
    assert await master.connect()
    yield master
    master.close()


Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def wire(bus: VirtualModbusBus) -> AsyncIterator[Wire]:
    """Bytes as they come. Not together with ``client``: the line has one user."""
    assert isinstance(bus.endpoint, TcpEndpoint)
    reader, writer = await asyncio.open_connection("127.0.0.1", bus.endpoint.port)
    yield reader, writer
    writer.close()


async def test_pymodbus_sees_a_key_that_is_held_and_released(
    bus: VirtualModbusBus, client: AsyncModbusTcpClient
) -> None:
    bus[2].hold(3)
    levels = (await client.read_discrete_inputs(0, count=8, device_id=2)).bits
    assert levels == [False, False, False, True, False, False, False, False]
    assert not any((await client.read_discrete_inputs(0, count=8, device_id=1)).bits)
    bus[2].release(3)
    assert not any((await client.read_discrete_inputs(0, count=8, device_id=2)).bits)


async def test_a_press_is_there_for_its_time_and_then_over(
    bus: VirtualModbusBus, client: AsyncModbusTcpClient
) -> None:
    finger = asyncio.create_task(bus[1].press(0, seconds=0.3, bounce=0.005))
    seen = []
    async with asyncio.timeout(10):
        while not finger.done():
            seen.append((await client.read_discrete_inputs(0, count=1, device_id=1)).bits[0])
    await finger
    assert True in seen
    assert not bus[1].inputs[0]


async def test_pymodbus_switches_outputs_and_people_see_each_change(
    bus: VirtualModbusBus, client: AsyncModbusTcpClient
) -> None:
    await client.write_coil(2, True, device_id=1)
    assert bus[1].outputs[2]
    await client.write_coils(0, [True, False, False, True], device_id=1)
    assert bus[1].outputs == [True, False, False, True, False, False, False, False]
    assert (await client.read_coils(0, count=4, device_id=1)).bits[:4] == [1, 0, 0, 1]
    changes = [(change.output, change.on) for change in bus[1].history]
    assert changes == [(2, True), (0, True), (2, False), (3, True)]
    assert not any(bus[2].outputs)


async def test_a_broadcast_is_obeyed_by_all_and_answered_by_none(
    bus: VirtualModbusBus, client: AsyncModbusTcpClient
) -> None:
    await client.write_coil(1, True, device_id=0, no_response_expected=True)
    await client.read_coils(0, count=8, device_id=1)
    assert [module.outputs[1] for module in bus.modules.values()] == [True, True]
    assert bus[1].counters["requests"] == 2


@pytest.mark.parametrize("function", ["holding", "write", "write_many"])
async def test_registers_are_an_illegal_function(
    bus: VirtualModbusBus, client: AsyncModbusTcpClient, function: str
) -> None:
    if function == "holding":
        answer = await client.read_holding_registers(0, count=1, device_id=1)
    elif function == "write":
        answer = await client.write_register(0, 1, device_id=1)
    else:
        answer = await client.write_registers(0, [1, 2], device_id=1)
    assert answer.isError()
    assert answer.exception_code == 1


async def test_a_channel_that_is_not_there_is_an_illegal_address(
    client: AsyncModbusTcpClient,
) -> None:
    answer = await client.read_discrete_inputs(4, count=5, device_id=1)
    assert answer.exception_code == 2
    assert (await client.write_coil(8, True, device_id=1)).exception_code == 2


async def test_an_absent_unit_is_silent_and_the_others_answer(
    bus: VirtualModbusBus, wire: Wire
) -> None:
    bus[2].set_absent()
    reader, writer = wire
    writer.write(bytes.fromhex("02 02 0000 0008 79ff"))
    writer.write(bytes.fromhex("01 02 0000 0008 79cc"))
    assert await answer_of(reader, 6) == bytes.fromhex("01 02 01 00 a188")
    assert bus.counters["frames_not_mine"] == 1
    bus[2].set_absent(False)
    writer.write(bytes.fromhex("02 02 0000 0008 79ff"))
    assert await answer_of(reader, 6) == bytes.fromhex("02 02 01 00 a1cc")


async def test_a_stuck_key_reads_pressed_whatever_the_finger_does(
    bus: VirtualModbusBus, client: AsyncModbusTcpClient
) -> None:
    bus[1].stick(5)
    await bus[1].press(5, 0.01)
    assert (await client.read_discrete_inputs(5, count=1, device_id=1)).bits[0]
    bus[1].unstick(5)
    assert not (await client.read_discrete_inputs(5, count=1, device_id=1)).bits[0]


async def test_a_wrong_checksum_is_not_answered_and_the_next_request_is(
    bus: VirtualModbusBus, wire: Wire
) -> None:
    reader, writer = wire
    writer.write(bytes.fromhex("01 05 0000 ff00 0000"))
    writer.write(bytes.fromhex("01 02 0000 0008 79cc"))
    assert await answer_of(reader, 6) == bytes.fromhex("01 02 01 00 a188")
    assert not bus[1].outputs[0]
    assert bus.counters["bytes_garbage"] == 8


async def test_half_a_request_is_given_up_after_a_silence(
    bus: VirtualModbusBus, wire: Wire, until: Until
) -> None:
    reader, writer = wire
    writer.write(bytes.fromhex("01 02 0000"))
    await until(bus, lambda: bus.counters["frames_half"] == 1)
    writer.write(bytes.fromhex("01 02 0000 0008 79cc"))
    assert await answer_of(reader, 6) == bytes.fromhex("01 02 01 00 a188")


async def test_a_function_of_unknown_length_is_an_illegal_function_after_the_silence(
    bus: VirtualModbusBus, wire: Wire
) -> None:
    reader, writer = wire
    writer.write(bytes.fromhex("01 11 c02c"))
    assert await answer_of(reader, 5) == bytes.fromhex("01 91 01 8c50")


async def test_pymodbus_comes_back_after_the_cable_does(bus: VirtualModbusBus) -> None:
    assert isinstance(bus.endpoint, TcpEndpoint)
    links: asyncio.Queue[bool] = asyncio.Queue()
    client = AsyncModbusTcpClient(
        "127.0.0.1",
        port=bus.endpoint.port,
        framer=FramerType.RTU,
        timeout=10,
        reconnect_delay=0.05,
        reconnect_delay_max=0.2,
        trace_connect=links.put_nowait,
    )
    await client.connect()
    try:
        async with asyncio.timeout(20):
            assert await links.get()
            bus.unplug()
            assert not await links.get()
            bus.plug()
            while not await links.get():
                pass
        assert not (await client.read_coils(0, count=8, device_id=1)).isError()
    finally:
        client.close()


async def answer_of(reader: asyncio.StreamReader, length: int) -> bytes:
    async with asyncio.timeout(10):
        return await reader.readexactly(length)


@pytest.mark.skipif(shutil.which("mbpoll") is None, reason="mbpoll (libmodbus) is not installed")
async def test_libmodbus_reads_inputs_and_writes_outputs_over_a_slow_serial_line(
    tmp_path: Path,
) -> None:
    bus = VirtualModbusBus(PtyEndpoint(tmp_path / "rs485"), [VirtualIoModule(7)])
    await bus.start()
    bus.endpoint.set_faults(baud=9600, one_byte_at_a_time=True)
    try:
        bus[7].hold(0)
        bus[7].hold(4)
        read = await mbpoll("-t", "1", "-c", "8", bus.endpoint.url)
        levels = [line.split()[-1] for line in read.splitlines() if line.startswith("[")]
        assert levels == list("10001000")
        await mbpoll("-t", "0", "-r", "3", bus.endpoint.url, "1", "1")
        assert bus[7].outputs == [False, False, True, True, False, False, False, False]
    finally:
        await bus.stop()


async def mbpoll(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *("mbpoll", "-m", "rtu", "-a", "7", "-b", "9600", "-P", "none", "-o", "5", "-1"),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(30):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()

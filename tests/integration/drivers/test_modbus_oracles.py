"""Our Modbus against others' whole programs: libmodbus units on a shared bus, pymodbus's server
behind a TCP gateway, and mbpoll as the master of our own codec."""

import asyncio
import ctypes
import ctypes.util
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from pymodbus import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from contract.names import DeviceStatus
from edge.drivers.modbus_rtu import (
    Function,
    Reply,
    Request,
    decode_request,
    encode_reply,
)
from edge.drivers.roles import LampPattern
from tests.integration.drivers.far_end import Plug, readable
from tests.integration.drivers.test_modbus_bus import bus_of
from tests.integration.drivers.watch import TIMEOUT, Log

LIBMODBUS = ctypes.util.find_library("modbus")
needs_libmodbus = pytest.mark.skipif(LIBMODBUS is None, reason="libmodbus is not installed")
needs_mbpoll = pytest.mark.skipif(shutil.which("mbpoll") is None, reason="mbpoll is not installed")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await asyncio.sleep(0.01)


# --- libmodbus --------------------------------------------------------------------------------


class Mapping(ctypes.Structure):
    """``modbus_mapping_t`` of libmodbus 3.1."""

    _fields_ = [
        ("nb_bits", ctypes.c_int),
        ("start_bits", ctypes.c_int),
        ("nb_input_bits", ctypes.c_int),
        ("start_input_bits", ctypes.c_int),
        ("nb_input_registers", ctypes.c_int),
        ("start_input_registers", ctypes.c_int),
        ("nb_registers", ctypes.c_int),
        ("start_registers", ctypes.c_int),
        ("tab_bits", ctypes.POINTER(ctypes.c_uint8)),
        ("tab_input_bits", ctypes.POINTER(ctypes.c_uint8)),
        ("tab_input_registers", ctypes.POINTER(ctypes.c_uint16)),
        ("tab_registers", ctypes.POINTER(ctypes.c_uint16)),
    ]


class LibmodbusUnit(threading.Thread):
    """A unit of eight inputs and eight outputs; ends when its port is pulled, after ``hung_up``."""

    def __init__(self, port: str, unit: int) -> None:
        super().__init__(name=f"libmodbus-{unit}")
        lib = ctypes.CDLL(LIBMODBUS, use_errno=True)
        lib.modbus_new_rtu.restype = ctypes.c_void_p
        lib.modbus_mapping_new.restype = ctypes.POINTER(Mapping)
        self._lib = lib
        self._context = ctypes.c_void_p(
            lib.modbus_new_rtu(port.encode(), 115200, ctypes.c_char(b"N"), 8, 1)
        )
        assert lib.modbus_set_slave(self._context, unit) == 0
        # Else it is out of step for ever once it took a request for another unit's answer.
        assert lib.modbus_set_error_recovery(self._context, 4) == 0  # ..._RECOVERY_PROTOCOL
        assert lib.modbus_connect(self._context) == 0, ctypes.get_errno()
        self._mapping = lib.modbus_mapping_new(8, 8, 0, 0)
        self.inputs = self._mapping.contents.tab_input_bits
        self.outputs = self._mapping.contents.tab_bits
        self.requests = 0
        self.hung_up = False

    def run(self) -> None:
        frame = (ctypes.c_uint8 * 260)()
        while True:
            size = self._lib.modbus_receive(self._context, frame)
            if size > 0:
                self.requests += 1
                self._lib.modbus_reply(self._context, frame, size, self._mapping)
            elif size < 0 and self.hung_up:  # other errors are for the next frame to mend
                return

    def free(self) -> None:
        self.join(TIMEOUT)
        assert not self.is_alive()
        self._lib.modbus_close(self._context)
        self._lib.modbus_free(self._context)
        self._lib.modbus_mapping_free(self._mapping)


@asynccontextmanager
async def shared_wire(folder: Path, count: int) -> AsyncIterator[list[Plug]]:
    """Ports on one pair of wires: what one sends, all others hear, as on RS-485."""
    plugs = []
    for number in range(count):
        (folder / str(number)).mkdir()
        plugs.append(Plug(folder / str(number)))

    async def carry(source: Plug) -> None:
        while True:
            await readable(source.master)
            data = source.take(4096)
            if not data:
                await asyncio.sleep(0.005)
            for plug in plugs:
                if plug is not source and data:
                    with suppress(BlockingIOError):  # nobody reads there
                        plug.send(data)

    tasks = [asyncio.create_task(carry(plug)) for plug in plugs]
    try:
        yield plugs
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for plug in plugs:
            plug.pull()


@needs_libmodbus
async def test_libmodbus_units_are_heard_on_one_wire(tmp_path: Path) -> None:
    """All units here are present: libmodbus tells frames apart by counting requests and answers
    rather than by silence, and is out of step after a request that nobody answers."""
    log = Log()
    async with shared_wire(tmp_path, 3) as (master, first, second):
        units = {1: LibmodbusUnit(first.path, 1), 3: LibmodbusUnit(second.path, 3)}
        for unit in units.values():
            unit.start()
        try:
            async with bus_of(master.path, [1, 3], log) as (_, keypads):
                for number, unit in units.items():
                    await log.status(f"unit-{number}", DeviceStatus.ONLINE)
                    keypads[number].set_lamp("refused", LampPattern.ON)
                    await until(lambda unit=unit: list(unit.outputs[:8]) == [0, 1] + [0] * 6)
                    unit.inputs[1] = 1
                    await log.until(lambda n=number: (f"unit-{n}", "recall") in log.presses)
                    unit.inputs[1] = 0
                seen = {number: unit.requests for number, unit in units.items()}
                await until(lambda: all(unit.requests > seen[n] + 100 for n, unit in units.items()))
        finally:
            for unit in units.values():
                unit.hung_up = True
            for plug in (first, second):
                plug.pull()
            for unit in units.values():
                await asyncio.get_running_loop().run_in_executor(None, unit.free)


# --- pymodbus's server ------------------------------------------------------------------------


async def test_a_tcp_gateway_serves_as_a_port(unused_tcp_port_factory: Callable[[], int]) -> None:
    inputs = SimData(0, values=[False] * 8, datatype=DataType.BITS)
    outputs = SimData(0, values=[False] * 8, datatype=DataType.BITS)
    registers = SimData(0, count=8, datatype=DataType.REGISTERS)
    pressed = False
    written: list[list[bool]] = []

    async def action(  # noqa: PLR0917 - as pymodbus calls it
        function: int, start: int, address: int, count: int, current: list[int], values: object
    ) -> None:
        if function == 2:
            current[0] = pressed
        if values is not None:
            written.append([bool(value) for value in values])  # type: ignore[attr-defined]

    device = SimDevice(5, simdata=([outputs], [inputs], [registers], [registers]), action=action)
    port = unused_tcp_port_factory()
    server = ModbusTcpServer(
        device,
        framer=FramerType.RTU,
        address=("127.0.0.1", port),
        ignore_missing_devices=True,
    )
    await server.serve_forever(background=True)
    log = Log()
    try:
        async with bus_of(f"socket://127.0.0.1:{port}", [5], log) as (_, keypads):
            await log.status("unit-5", DeviceStatus.ONLINE)
            keypads[5].set_lamp("accepted", LampPattern.ON)
            await until(lambda: [True] in written)
            pressed = True
            await log.until(lambda: log.presses == [("unit-5", "call_next")])
    finally:
        await server.shutdown()


# --- mbpoll -----------------------------------------------------------------------------------


class OurUnits:
    """Units played with our own codec: it understands others' requests, and is understood."""

    def __init__(self, plug: Plug) -> None:
        self.plug = plug
        self.inputs = [0] * 2000
        self.coils = [0] * 2000
        self.requests: list[Request] = []

    async def serve(self) -> None:
        buffer = b""
        while True:
            await readable(self.plug.master)
            data = self.plug.take(4096)
            if not data:
                await asyncio.sleep(0.005)
            buffer += data
            while buffer:
                used, request = decode_request(buffer)
                buffer = buffer[used:]
                if request is not None:
                    self.requests.append(request)
                    self.plug.send(encode_reply(self._answer(request)))
                elif used == 0:
                    break

    def _answer(self, request: Request) -> Reply:
        unit, function, first, count = (
            request.unit,
            request.function,
            request.address,
            request.count,
        )
        if function is Function.READ_INPUTS:
            bits = self.inputs[first : first + count]
            if len(bits) < count:
                return Reply(unit, function, exception=2)
            return Reply(unit, function, values=tuple(bits) + (0,) * (-count % 8))
        self.coils[first : first + count] = request.values
        values = request.values if function is Function.WRITE_COIL else ()
        return Reply(unit, function, first, count, values)


async def mbpoll(port: str, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "mbpoll", "-m", "rtu", "-a", "247", "-b", "115200", "-P", "none", "-0", "-1", "-o", "5",
        *arguments[:-1], port, *arguments[-1].split(),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(TIMEOUT):
        output, _ = await process.communicate()
    return output.decode()


@needs_mbpoll
async def test_mbpoll_reads_and_writes_through_our_codec(tmp_path: Path) -> None:
    plug = Plug(tmp_path)
    units = OurUnits(plug)
    serving = asyncio.create_task(units.serve())
    try:
        units.inputs[:10] = [1, 0, 1, 1, 0, 0, 0, 1, 1, 0]
        read = await mbpoll(plug.path, "-t", "1", "-r", "0", "-c", "10", "")
        values = [line.split()[-1] for line in read.splitlines() if line.startswith("[")]
        assert values == list("1011000110")
        assert "Written 1 references" in await mbpoll(plug.path, "-t", "0", "-r", "3", "1")
        assert "Written 5 ref" in await mbpoll(plug.path, "-t", "0", "-r", "8", "1 1 0 1 1")
        refused = await mbpoll(plug.path, "-t", "1", "-r", "1999", "-c", "5", "")
        assert "Illegal data address" in refused
        assert units.coils[:14] == [0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 1, 1, 0]
        assert [request.function for request in units.requests] == [2, 5, 15, 2]
        assert {request.unit for request in units.requests} == {247}
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        plug.pull()

"""I/O modules at the far end of a bus; their frames are made and understood by pymodbus."""

import asyncio
import errno
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU, ModbusPDU

from edge.drivers.link import Link, LinkLost
from tests.integration.drivers.far_end import Plug, readable

CHANNELS = 8


class Module:
    """Eight inputs, eight outputs."""

    def __init__(self) -> None:
        self.inputs = [False] * CHANNELS
        self.outputs = [False] * CHANNELS
        self.refuses_writes = False
        self.answers = 0
        self.changed = asyncio.Event()
        """Set at every request that was answered; for tests that wait."""

    async def output(self, channel: int, on: bool) -> None:
        """Return when this output has this level."""
        await self.until(lambda: self.outputs[channel] is on)

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def polls(self, count: int) -> None:
        """Return after so many more answers: the master has seen the inputs as they are."""
        seen = self.answers
        await self.until(lambda: self.answers >= seen + count)


class Units:
    """The modules of one bus, as pymodbus sees them."""

    def __init__(self, units: Iterable[int]) -> None:
        self.modules = {unit: Module() for unit in units}
        self.absent: set[int] = set()
        self.requests: list[ModbusPDU] = []
        self._framer = FramerRTU(DecodePDU(True))
        self._buffer = b""

    def requests_in(self, data: bytes) -> list[ModbusPDU]:
        """The requests that end with ``data``."""
        self._buffer += data
        found = []
        while self._buffer:
            used, pdu = self._framer.handleFrame(self._buffer, 0, 0)
            self._buffer = self._buffer[used:]
            if pdu is not None:
                found.append(pdu)
            elif used == 0:
                break
        self.requests += found
        return found

    def forget(self) -> None:
        """Half a frame came to nothing: the cable was pulled."""
        self._buffer = b""

    async def answer(self, pdu: ModbusPDU) -> bytes | None:
        """The frame that the asked unit answers with, if it is there."""
        module = self.modules.get(pdu.dev_id)
        if module is None or pdu.dev_id in self.absent:
            return None
        reply = await pdu.datastore_update(self, pdu.dev_id)  # type: ignore[arg-type]
        reply.dev_id = pdu.dev_id
        return self._framer.buildFrame(reply)

    def answered(self, unit: int) -> None:
        module = self.modules[unit]
        module.answers += 1
        module.changed.set()

    # pymodbus asks for its data here

    async def async_getValues(  # noqa: N802
        self, unit: int, function: int, address: int, count: int = 1
    ) -> list[bool] | ExcCodes:
        if address + count > CHANNELS:
            return ExcCodes.ILLEGAL_ADDRESS
        module = self.modules[unit]
        bits = module.inputs if function == 2 else module.outputs
        return bits[address : address + count]

    async def async_setValues(  # noqa: N802
        self, unit: int, function: int, address: int, values: list[bool]
    ) -> ExcCodes | None:
        module = self.modules[unit]
        if module.refuses_writes or address + len(values) > CHANNELS:
            return ExcCodes.ILLEGAL_ADDRESS
        module.outputs[address : address + len(values)] = values
        return None


class FarEnd(Units):
    """The bus on a pty. Modules can be taken away and come back; so can the cable."""

    def __init__(self, folder: Path, units: Iterable[int]) -> None:
        super().__init__(units)
        self.plug = Plug(folder)
        self.noise = b""
        """Sent before every answer."""
        self.answer_delay = 0.0
        self.damage = 0
        """So many answers to come are damaged."""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pull()

    async def pull(self) -> None:
        """Pull the adapter out."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        self.plug.pull()

    def plug_in(self) -> None:
        self.plug.plug_in()
        self.forget()
        self._task = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        while True:
            await readable(self.plug.master)
            data = self.plug.take(4096)
            if not data:  # nobody has the port open
                await asyncio.sleep(0.005)
                continue
            for request in self.requests_in(data):
                await self._answer(request)

    async def _answer(self, pdu: ModbusPDU) -> None:
        frame = await self.answer(pdu)
        if frame is None:
            return
        if self.damage:
            self.damage -= 1
            frame = frame[:-1] + bytes([frame[-1] ^ 0x55])
        if self.answer_delay:
            await asyncio.sleep(self.answer_delay)
        self.plug.send(self.noise + frame)
        self.answered(pdu.dev_id)


class TimedLine(Units):
    """The bus as a ``Link`` in memory, timed by the event loop: bytes take what they take at
    ``BAUD``, and then a unit takes its time. For loops whose time is virtual."""

    BAUD = 115_200

    def __init__(self, units: Iterable[int]) -> None:
        super().__init__(units)
        self.answer_seconds = dict.fromkeys(self.modules, 0.001)
        self.asked_at: dict[int, list[float]] = {unit: [] for unit in self.modules}
        """When each unit that is there looked at its inputs, to be asked or not to be."""
        self._plugged = True
        self._lost = False
        """To whoever opened it before it was pulled."""
        self._incoming = b""
        self._heard = asyncio.Event()

    def pull(self) -> None:
        self._plugged, self._lost = False, True
        self._incoming = b""
        self.forget()
        self._heard.set()

    def plug_in(self) -> None:
        self._plugged = True

    async def open(self, port: str, baud: int) -> Link:
        """To be the bus's ``open_link``."""
        if not self._plugged:
            raise FileNotFoundError(port)
        self._lost = False
        return self

    def write(self, data: bytes) -> None:
        self._check()
        for request in self.requests_in(data):
            asyncio.get_running_loop().create_task(self._answer(request, len(data)))

    async def _answer(self, pdu: ModbusPDU, size: int) -> None:
        await asyncio.sleep(self._on_wire(size))
        frame = await self.answer(pdu)
        if frame is None or self._lost:
            return
        self.asked_at[pdu.dev_id].append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.answer_seconds[pdu.dev_id] + self._on_wire(len(frame)))
        if self._lost:
            return
        self._incoming += frame
        self._heard.set()
        self.answered(pdu.dev_id)

    def _on_wire(self, size: int) -> float:
        return size * 10 / self.BAUD

    async def read(self, until: float | None = None) -> bytes:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._heard.wait()
        self._heard.clear()
        self._check()
        data, self._incoming = self._incoming, b""
        return data

    async def drain(self) -> None:
        """Nothing waits for the OS here."""

    def close(self) -> None:
        self.forget()

    def _check(self) -> None:
        if self._lost:
            raise LinkLost(errno.EIO, "pulled")

"""I/O modules at the far end of a pty; their frames are made and understood by pymodbus."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU, ModbusPDU

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


class FarEnd:
    """The bus with its modules. Modules can be taken away and come back; so can the cable."""

    def __init__(self, folder: Path, units: list[int]) -> None:
        self.plug = Plug(folder)
        self.modules = {unit: Module() for unit in units}
        self.absent: set[int] = set()
        self.requests: list[ModbusPDU] = []
        self.noise = b""
        """Sent before every answer."""
        self.answer_delay = 0.0
        self.slow: dict[int, float] = {}
        """Seconds that single units take instead."""
        self.damage = 0
        """So many answers to come are damaged."""
        self._framer = FramerRTU(DecodePDU(True))
        self._buffer = b""
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
        self._buffer = b""
        self._task = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        while True:
            await readable(self.plug.master)
            data = self.plug.take(4096)
            if not data:  # nobody has the port open
                await asyncio.sleep(0.005)
                continue
            self._buffer += data
            while self._buffer:
                used, pdu = self._framer.handleFrame(self._buffer, 0, 0)
                self._buffer = self._buffer[used:]
                if pdu is not None:
                    await self._answer(pdu)
                elif used == 0:
                    break

    async def _answer(self, pdu: ModbusPDU) -> None:
        self.requests.append(pdu)
        module = self.modules.get(pdu.dev_id)
        if module is None or pdu.dev_id in self.absent:
            return
        reply = await pdu.datastore_update(self, pdu.dev_id)  # type: ignore[arg-type]
        reply.dev_id = pdu.dev_id
        frame = self._framer.buildFrame(reply)
        if self.damage:
            self.damage -= 1
            frame = frame[:-1] + bytes([frame[-1] ^ 0x55])
        delay = self.slow.get(pdu.dev_id, self.answer_delay)
        if delay:
            await asyncio.sleep(delay)
        self.plug.send(self.noise + frame)
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

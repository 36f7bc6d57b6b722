"""An RS-485 bus with Waveshare Modbus RTU IO 8CH modules: eight inputs, eight outputs each.

Source: the maker's development protocol: function codes 01 and 02 read, 05 and 0F write, FF00
on, 0000 off, 5500 the other way round, address 00FF all outputs; Modbus over serial line V1.02
for frames, CRC and exceptions. Wrong checksums, other units' addresses and broadcasts get no
answer.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from simulator.devices.device import Keys, VirtualDevice
from simulator.devices.endpoint import Endpoint

CHANNELS = 8
HISTORY_KEPT = 200
MAX_FRAME_BYTES = 256
BROADCAST = 0

STALE_SECONDS = 0.05
"""Half a frame is given up after this. A real module waits 3.5 characters; here a busy machine
may lie between two bytes."""

_FIXED_LENGTH = {1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8}
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS, _ILLEGAL_VALUE = 1, 2, 3

_CRC_TABLE: list[int] = []
for _byte in range(256):
    _crc = _byte
    for _ in range(8):
        _crc = _crc >> 1 ^ (0xA001 if _crc & 1 else 0)
    _CRC_TABLE.append(_crc)


def crc16_modbus(data: bytes) -> bytes:
    """CRC-16/MODBUS as it stands on the wire, low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


@dataclass(frozen=True, slots=True)
class OutputChange:
    """An output switched. ``at`` is ``loop.time()``."""

    at: float
    output: int
    on: bool


AnswerWatcher = Callable[[int, bytes], None]
"""(unit, function code and data)."""


class _RefusedError(Exception):
    """The module answers with this exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class VirtualIoModule(Keys):
    """One module: people press its inputs and see its outputs. Channels count from 0."""

    def __init__(self, unit: int) -> None:
        super().__init__()
        if not 1 <= unit <= 247:
            raise ValueError(f"Modbus unit {unit} is not 1 to 247")
        self.unit = unit
        self.outputs = [False] * CHANNELS
        """What the lamps show."""
        self.history: deque[OutputChange] = deque(maxlen=HISTORY_KEPT)
        self.counters: Counter[str] = Counter()
        """``requests``, ``exceptions``."""
        self._absent = False
        self._fingers = [0] * CHANNELS
        self._stuck: dict[int, bool] = {}
        self._output_watchers: list[Callable[[OutputChange], None]] = []

    @property
    def absent(self) -> bool:
        return self._absent

    @property
    def inputs(self) -> list[bool]:
        """The levels that the bus reads."""
        return [self._stuck.get(n, self._fingers[n] > 0) for n in range(CHANNELS)]

    def on_output(self, callback: Callable[[OutputChange], None]) -> None:
        """Call this with every change of an output."""
        self._output_watchers.append(callback)

    def set_absent(self, absent: bool = True) -> None:
        """Its own cable is off, or its power: it answers nothing. Back, its outputs are off."""
        self._absent = absent
        if absent:
            for output in range(CHANNELS):
                self._switch(output, False)
        self._changed()

    def hold(self, key: int) -> None:
        self._fingers[key] += 1
        self._changed()

    def release(self, key: int) -> None:
        self._fingers[key] = max(0, self._fingers[key] - 1)
        self._changed()

    def stick(self, key: int, level: bool = True) -> None:
        """The key is stuck at this level, whatever fingers do."""
        self._stuck[key] = level
        self._changed()

    def unstick(self, key: int) -> None:
        self._stuck.pop(key, None)
        self._changed()

    def snapshot(self) -> dict[str, Any]:
        return {
            "unit": self.unit,
            "absent": self._absent,
            "inputs": self.inputs,
            "outputs": list(self.outputs),
            "stuck": sorted(self._stuck),
            "counters": dict(self.counters),
        }

    def _switch(self, output: int, on: bool) -> None:
        if self.outputs[output] == on:
            return
        self.outputs[output] = on
        change = OutputChange(asyncio.get_running_loop().time(), output, on)
        self.history.append(change)
        for watcher in self._output_watchers:
            watcher(change)
        self._changed()

    # The protocol: a request's function code and data to a reply's

    def answer(self, pdu: bytes) -> bytes:
        """Obey one request (function code and data) and return the reply's."""
        self.counters["requests"] += 1
        try:
            match pdu[0]:
                case 1:
                    return self._read(pdu, self.outputs)
                case 2:
                    return self._read(pdu, self.inputs)
                case 5:
                    return self._write_one(pdu)
                case 15:
                    return self._write_many(pdu)
                case _:
                    raise _RefusedError(_ILLEGAL_FUNCTION)
        except _RefusedError as refused:
            self.counters["exceptions"] += 1
            return bytes((pdu[0] | 0x80, refused.code))

    @staticmethod
    def _read(pdu: bytes, levels: list[bool]) -> bytes:
        first, count = int.from_bytes(pdu[1:3]), int.from_bytes(pdu[3:5])
        if count == 0:
            raise _RefusedError(_ILLEGAL_VALUE)
        if first + count > CHANNELS:
            raise _RefusedError(_ILLEGAL_ADDRESS)
        bits = sum(levels[first + n] << n for n in range(count))
        return bytes((pdu[0], 1, bits))

    def _write_one(self, pdu: bytes) -> bytes:
        address, value = int.from_bytes(pdu[1:3]), int.from_bytes(pdu[3:5])
        if address >= CHANNELS and address != 0x00FF:
            raise _RefusedError(_ILLEGAL_ADDRESS)
        if value not in (0xFF00, 0x0000, 0x5500):
            raise _RefusedError(_ILLEGAL_VALUE)
        for output in range(CHANNELS) if address == 0x00FF else (address,):
            self._switch(output, not self.outputs[output] if value == 0x5500 else value == 0xFF00)
        return pdu

    def _write_many(self, pdu: bytes) -> bytes:
        first, count = int.from_bytes(pdu[1:3]), int.from_bytes(pdu[3:5])
        bits = pdu[6:]
        if count == 0 or pdu[5] != len(bits) or len(bits) != (count + 7) // 8:
            raise _RefusedError(_ILLEGAL_VALUE)
        if first + count > CHANNELS:
            raise _RefusedError(_ILLEGAL_ADDRESS)
        for n in range(count):
            self._switch(first + n, bool(bits[n // 8] >> n % 8 & 1))
        return pdu[:5]


class VirtualModbusBus(VirtualDevice):
    """The bus: one endpoint, several modules.

    ``turnaround_seconds``: how long a module thinks before it answers.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        modules: Iterable[VirtualIoModule],
        *,
        turnaround_seconds: float = 0.002,
    ) -> None:
        super().__init__(endpoint)
        self.modules: dict[int, VirtualIoModule] = {}
        for module in modules:
            if module.unit in self.modules:
                raise ValueError(f"two modules with the Modbus unit {module.unit}")
            self.modules[module.unit] = module
            module.on_change(self._changed)
        self.turnaround_seconds = turnaround_seconds
        self.counters: Counter[str] = Counter()
        """``frames``, ``frames_not_mine``, ``bytes_garbage``, ``frames_half``."""
        self._buffer = bytearray()
        self._stale: asyncio.TimerHandle | None = None
        self._answers: set[asyncio.TimerHandle] = set()
        self._answer_watchers: list[AnswerWatcher] = []

    def on_answer(self, callback: AnswerWatcher) -> None:
        """Call this with every answer, as it goes on the wire."""
        self._answer_watchers.append(callback)

    def __getitem__(self, unit: int) -> VirtualIoModule:
        return self.modules[unit]

    async def stop(self) -> None:
        if self._stale is not None:
            self._stale.cancel()
        for answer in self._answers:
            answer.cancel()
        self._answers.clear()
        await super().stop()

    def snapshot(self) -> dict[str, Any]:
        return {
            "kind": "modbus_bus",
            "url": self.endpoint.url,
            "plugged": self.endpoint.plugged,
            "modules": {str(unit): module.snapshot() for unit, module in self.modules.items()},
            "counters": dict(self.counters),
        }

    def _receive(self, data: bytes) -> None:
        if self._stale is not None:
            self._stale.cancel()
            self._stale = None
        self._buffer += data
        while (found := self._find_frame()) is not None:
            start, end = found
            frame = bytes(self._buffer[start:end])
            self.counters["bytes_garbage"] += start
            del self._buffer[:end]
            self._request(frame)
        if len(self._buffer) > MAX_FRAME_BYTES:
            self.counters["bytes_garbage"] += len(self._buffer) - MAX_FRAME_BYTES
            del self._buffer[:-MAX_FRAME_BYTES]
        if self._buffer:
            loop = asyncio.get_running_loop()
            self._stale = loop.call_later(STALE_SECONDS, self._line_was_silent)

    def _find_frame(self) -> tuple[int, int] | None:
        """Where the first whole request with a right checksum is: from, to. Noise may precede."""
        for start in range(len(self._buffer)):
            length = self._frame_length(start)
            end = start + length
            if length and end <= len(self._buffer):
                frame = bytes(self._buffer[start:end])
                if crc16_modbus(frame[:-2]) == frame[-2:]:
                    return start, end
        return None

    def _frame_length(self, start: int) -> int:
        """How long a request that begins here is; 0 where that can't be known."""
        buffer = self._buffer
        if start + 2 > len(buffer):
            return 0
        function = buffer[start + 1]
        if function in _FIXED_LENGTH:
            return _FIXED_LENGTH[function]
        if function in (15, 16) and start + 7 <= len(buffer):
            return 9 + buffer[start + 6]
        return 0  # only the silence after it tells

    def _line_was_silent(self) -> None:
        """What is here is all there will be: a frame of a function we don't know, or a half."""
        self._stale = None
        frame = bytes(self._buffer)
        self._buffer.clear()
        if len(frame) >= 4 and crc16_modbus(frame[:-2]) == frame[-2:]:
            self._request(frame)
        else:
            self.counters["frames_half"] += 1
            self.counters["bytes_garbage"] += len(frame)
            self._changed()

    def _request(self, frame: bytes) -> None:
        self.counters["frames"] += 1
        unit, pdu = frame[0], frame[1:-2]
        if unit == BROADCAST:
            for module in self.modules.values():
                if not module.absent:
                    module.answer(pdu)
            return
        module_asked = self.modules.get(unit)
        if module_asked is None or module_asked.absent:
            self.counters["frames_not_mine"] += 1
            return
        self._answer_later(unit, module_asked.answer(pdu))

    def _answer_later(self, unit: int, pdu: bytes) -> None:
        if self.turnaround_seconds <= 0:
            self._answer(unit, pdu)
            return

        def answer() -> None:
            self._answers.discard(handle)
            self._answer(unit, pdu)

        loop = asyncio.get_running_loop()
        handle = loop.call_later(self.turnaround_seconds, answer)
        self._answers.add(handle)

    def _answer(self, unit: int, pdu: bytes) -> None:
        frame = bytes((unit,)) + pdu
        self.endpoint.send(frame + crc16_modbus(frame))
        for watcher in self._answer_watchers:
            watcher(unit, pdu)

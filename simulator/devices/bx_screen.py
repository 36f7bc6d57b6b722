"""An LED bar above a window with an Onbon BX-5K / BX-6K font card.

Frame: ``A5``… destination u16, source u16, 3 reserved, barcode flag, check mode, display mode,
device type, protocol version, data length u16, data, CRC-16/ARC u16, ``5A``; little-endian, and
between the two ends ``A5 A6 5A 5B`` are escaped. The card answers with command group, command,
error byte and two reserved bytes. Source: the hardware notes, from the maker's BX-5K protocol.
"""

import asyncio
import struct
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulator.devices.device import VirtualDevice
from simulator.devices.endpoint import Endpoint

_START, _END = 0xA5, 0x5A
_UNESCAPED = {
    (0xA6, 0x01): 0xA6,
    (0xA6, 0x02): 0xA5,
    (0x5B, 0x01): 0x5B,
    (0x5B, 0x02): 0x5A,
}
_ESCAPED = {plain: bytes(pair) for pair, plain in _UNESCAPED.items()}

_HEADER = struct.Struct("<HH3xBBBBBH")
"""Destination, source, barcode flag, check mode, display mode, device type, version, length."""

MAX_FRAME_BYTES = 4096
MAX_AREAS = 8
HISTORY_KEPT = 200
BROADCAST = 0xFFFF
NEAREST = 0xFFFE
"""The address with which a lone card is asked whatever its own is."""

_COLOURS = {"1": "red", "2": "green", "3": "yellow"}
_EFFECTS = {1: "static", 2: "quick", 3: "left", 4: "right", 5: "up", 6: "down"}


@dataclass(frozen=True, slots=True)
class ScreenArea:
    """One dynamic area and what it shows."""

    area: int
    text: str
    colour: str
    """``red``, ``green`` or ``yellow``: that of the first character."""
    effect: str
    """``static``, ``quick``, ``left``, ``right``, ``up``, ``down``, or ``effect-N``."""
    x: int
    y: int
    width: int
    height: int
    """Dots."""


@dataclass(frozen=True, slots=True)
class ScreenUpdate:
    """A command that the screen obeyed. ``received_at`` is ``loop.time()``."""

    received_at: float
    areas: tuple[ScreenArea, ...]
    """All that it shows since."""

    @property
    def text(self) -> str:
        return " ".join(area.text for area in self.areas)


class FrameError(ValueError):
    """A frame that the card ignores. The text is a counter's name."""


def crc16_arc(data: bytes) -> int:
    """CRC-16/ARC: polynomial 8005 reflected, from 0."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


class VirtualBxScreen(VirtualDevice):
    """One window screen. ``address`` is its own on the line."""

    def __init__(self, endpoint: Endpoint, *, address: int = 1) -> None:
        super().__init__(endpoint)
        self.address = address
        self.areas: dict[int, ScreenArea] = {}
        """What it shows, by area number; kept while it is off, dark."""
        self.history: deque[ScreenUpdate] = deque(maxlen=HISTORY_KEPT)
        self.counters: Counter[str] = Counter()
        """``updates``, ``commands_other``, ``frames_checksum``, ``frames_length``,
        ``frames_escape``, ``frames_too_long``, ``frames_not_mine``, ``frames_malformed``,
        ``bytes_garbage``, ``refused``."""
        self.error_reply: int | None = None
        """Answer everything with this error byte and obey nothing. ``None``: works."""
        self.silent = False
        """Obeys, but its answers never come (a broken wire back)."""
        self._on = True
        self._update_watchers: list[Callable[[ScreenUpdate], None]] = []
        self._frame: bytearray | None = None

    @property
    def powered(self) -> bool:
        return self._on

    @property
    def text(self) -> str:
        """What a person reads now: nothing while it is off."""
        if not self._on:
            return ""
        return " ".join(area.text for _, area in sorted(self.areas.items()))

    @property
    def colour(self) -> str:
        return next((area.colour for _, area in sorted(self.areas.items())), "red")

    def on_update(self, callback: Callable[[ScreenUpdate], None]) -> None:
        """Call this with every command that the screen obeyed."""
        self._update_watchers.append(callback)

    def power_off(self) -> None:
        """Dark and deaf. A dynamic area is not kept without power."""
        self._on = False
        self._frame = None
        self.areas.clear()
        self._changed()

    def power_on(self) -> None:
        self._on = True
        self._changed()

    def snapshot(self) -> dict[str, Any]:
        shown = [area for _, area in sorted(self.areas.items())] if self._on else []
        return {
            "kind": "bx_screen",
            "url": self.endpoint.url,
            "plugged": self.endpoint.plugged,
            "powered": self._on,
            "error_reply": self.error_reply,
            "silent": self.silent,
            "text": self.text,
            "colour": self.colour,
            "effect": shown[0].effect if shown else "static",
            "areas": [
                {
                    "area": area.area,
                    "text": area.text,
                    "colour": area.colour,
                    "effect": area.effect,
                    "x": area.x,
                    "y": area.y,
                    "width": area.width,
                    "height": area.height,
                }
                for area in shown
            ],
            "updated_at": self.history[-1].received_at if self.history else None,
            "counters": dict(self.counters),
        }

    # Frames

    def _receive(self, data: bytes) -> None:
        if not self._on:
            return
        for byte in data:
            self._take(byte)

    def _take(self, byte: int) -> None:
        if byte == _START:
            if self._frame:
                self.counters["frames_malformed"] += 1  # cut off by the next one's start
            self._frame = bytearray()
        elif self._frame is None:
            self.counters["bytes_garbage"] += 1
        elif byte == _END:
            frame, self._frame = self._frame, None
            self._frame_ended(bytes(frame))
        elif len(self._frame) >= MAX_FRAME_BYTES:
            self._frame = None
            self.counters["frames_too_long"] += 1
        else:
            self._frame.append(byte)

    def _frame_ended(self, escaped: bytes) -> None:
        try:
            destination, source, data = self._open_frame(escaped)
            if destination not in (self.address, BROADCAST, NEAREST):
                raise FrameError("frames_not_mine")
            self._command(destination, source, data)
        except FrameError as error:
            self.counters[str(error)] += 1
            self._changed()

    @staticmethod
    def _open_frame(escaped: bytes) -> tuple[int, int, bytes]:
        """(destination, source, data). Raises ``FrameError``."""
        frame = bytearray()
        bytes_left = iter(escaped)
        for byte in bytes_left:
            if byte not in (0xA6, 0x5B):
                frame.append(byte)
                continue
            plain = _UNESCAPED.get((byte, next(bytes_left, 0)))
            if plain is None:
                raise FrameError("frames_escape")
            frame.append(plain)
        if len(frame) < _HEADER.size + 2:
            raise FrameError("frames_length")
        destination, source, _, check_mode, _, _, _, length = _HEADER.unpack_from(frame)
        if len(frame) != _HEADER.size + length + 2:
            raise FrameError("frames_length")
        body, check = bytes(frame[:-2]), int.from_bytes(frame[-2:], "little")
        expected = {0: crc16_arc(body), 1: sum(body) & 0xFFFF}.get(check_mode, check)
        if check != expected:
            raise FrameError("frames_checksum")
        return destination, source, body[_HEADER.size :]

    # Commands

    def _command(self, destination: int, source: int, data: bytes) -> None:
        if len(data) < 3:
            raise FrameError("frames_malformed")
        group, command, wants_reply = data[0], data[1], data[2] == 0x01
        error = 0
        if self.error_reply is not None:
            self.counters["refused"] += 1
            error = self.error_reply
        elif (group, command) == (0xA3, 0x06):
            self._show(data)
        elif (group, command) == (0xA3, 0x10):
            self.areas.clear()
            self._updated()
        else:
            self.counters["commands_other"] += 1
        if wants_reply and destination != BROADCAST and not self.silent:
            self._reply(source, bytes((group, command, error, 0, 0)))

    def _reply(self, to: int, data: bytes) -> None:
        header = _HEADER.pack(to, self.address, 0, 0, 0, 0x61, 0x02, len(data))
        body = header + data
        body += crc16_arc(body).to_bytes(2, "little")
        escaped = b"".join(_ESCAPED.get(byte, bytes((byte,))) for byte in body)
        self.endpoint.send(bytes((_START,)) * 8 + escaped + bytes((_END,)))

    def _show(self, data: bytes) -> None:
        """A3 06: delete areas, then set areas. Nothing is changed unless all of it is sound."""
        reader = _Reader(data, at=5)
        count_deleted = reader.u8()
        if count_deleted == 0xFF:
            kept: dict[int, ScreenArea] = {}
        else:
            deleted = {reader.u8() for _ in range(count_deleted)}
            kept = {number: area for number, area in self.areas.items() if number not in deleted}
        for _ in range(reader.u8()):
            area = _read_area(_Reader(reader.take(reader.u16())))
            kept[area.area] = area
        if len(kept) > MAX_AREAS:
            raise FrameError("frames_malformed")
        self.areas = kept
        self._updated()

    def _updated(self) -> None:
        now = asyncio.get_running_loop().time()
        update = ScreenUpdate(now, tuple(area for _, area in sorted(self.areas.items())))
        self.history.append(update)
        self.counters["updates"] += 1
        for watcher in self._update_watchers:
            watcher(update)
        self._changed()


class _Reader:
    """Takes fields off the front. Raises ``FrameError`` where the data ends too early."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at

    def take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) != count:
            raise FrameError("frames_malformed")
        self._at += count
        return piece

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "little")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")


def _dots(field: int) -> int:
    """x and width count bytes of 8 dots, unless the top bit says that they are dots."""
    return field & 0x7FFF if field & 0x8000 else field * 8


def _read_area(reader: _Reader) -> ScreenArea:
    """One area: type, x, y, w, h, id, gap, run mode, time-out, voice, …, text."""
    if reader.u8() != 0:
        raise FrameError("frames_malformed")
    x, y, width, height = reader.u16(), reader.u16(), reader.u16(), reader.u16()
    number = reader.u8()
    reader.take(1 + 1 + 2)  # line gap, run mode, time-out
    if reader.u8() != 0:  # with voice: a block of unknown shape follows
        raise FrameError("frames_malformed")
    reader.take(reader.u8())  # extension bytes
    reader.take(1 + 1 + 1)  # alignment, single line, wrap
    effect = reader.u8()
    reader.take(1 + 1 + 1)  # exit, speed, stay
    text, colour = _read_text(reader.take(reader.u32()))
    return ScreenArea(
        area=number,
        text=text,
        colour=colour,
        effect=_EFFECTS.get(effect, f"effect-{effect}"),
        x=_dots(x),
        y=y & 0x7FFF,
        width=_dots(width),
        height=height & 0x7FFF,
    )


def _read_text(raw: bytes) -> tuple[str, str]:
    r"""GB2312 with control codes: ``\C1`` red, ``\C2`` green, ``\C3`` yellow, ``\n``."""
    coded = raw.decode("gb18030", "replace")
    text, colour = "", ""
    at = 0
    while at < len(coded):
        if coded.startswith("\\C", at) and coded[at + 2 : at + 3] in _COLOURS:
            if not text:
                colour = _COLOURS[coded[at + 2]]
            at += 3
        elif coded.startswith("\\n", at):
            text += " "
            at += 2
        else:
            text += coded[at]
            at += 1
    return text, colour or "red"

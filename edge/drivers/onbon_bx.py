"""Onbon BX-5K / BX-6K font cards: the one-line LED bar above a window (窗口屏).

The card draws the text itself, in a dynamic area. Frame and command layout are those of the
maker's "BX-5K/6K font card protocol" as the hardware notes give it, compared with app-tools-zxw's
BX-6K1 network module. Error bytes of replies are not documented there: anything but 0 is failure.
"""

import asyncio
import logging
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field

from contract.names import DeviceId, DeviceStatus
from edge.drivers.config import DeviceConfig, Role, port_claim
from edge.drivers.framing import Discarded, Reassembler
from edge.drivers.health import Health
from edge.drivers.link import Link, Port, open_link
from edge.drivers.roles import ScreenLine, StatusCallback
from edge.drivers.supervisor import run_together

_log = logging.getLogger(__name__)

# --- frames -------------------------------------------------------------------------------------

_START = 0xA5
_END = 0x5A
_PREAMBLE = bytes((_START,)) * 8
_ESCAPES = {0xA5: b"\xa6\x02", 0xA6: b"\xa6\x01", 0x5A: b"\x5b\x02", 0x5B: b"\x5b\x01"}
_ESCAPED = {escape: plain for plain, escape in _ESCAPES.items()}

_HEADER = struct.Struct("<HH3xBBBBBH")
"""Destination, source, 3 reserved, barcode flag, check mode, display mode, device type, protocol
version, length of the data."""

_CHECK_CRC16 = 0
_VERSION = 0x02
MAX_DATA_BYTES = 1024
MAX_FRAME_BYTES = 8 + 2 * (_HEADER.size + MAX_DATA_BYTES + 2) + 1
"""With every byte escaped."""

CONTROLLER = 0x8000
"""Our own address, as the source of what we send."""

ANY_DEVICE_TYPE = 0xFE
_NEAREST = 0xFFFE
"""Whatever card hears it; it answers with its own address."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, either way. ``destination`` and ``source`` are addresses on the line."""

    destination: int
    source: int
    data: bytes
    device_type: int = ANY_DEVICE_TYPE


def crc16_arc(data: bytes) -> int:
    """CRC-16/ARC: polynomial 0x8005 reflected, initial value 0."""
    crc = 0
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0xA001 if byte & 1 else 0)
    return byte


_CRC_TABLE = tuple(_crc_of_byte(byte) for byte in range(256))


def encode_frame(frame: Frame) -> bytes:
    """The bytes on the wire. Raises ``ValueError`` if the data are too long."""
    if len(frame.data) > MAX_DATA_BYTES:
        raise ValueError(f"{len(frame.data)} data bytes; a frame carries {MAX_DATA_BYTES}")
    header = _HEADER.pack(
        frame.destination,
        frame.source,
        0,
        _CHECK_CRC16,
        0,
        frame.device_type,
        _VERSION,
        len(frame.data),
    )
    body = header + frame.data
    body += crc16_arc(body).to_bytes(2, "little")
    escaped = b"".join(_ESCAPES.get(byte) or bytes((byte,)) for byte in body)
    return _PREAMBLE + escaped + bytes((_END,))


def decode(data: bytes) -> tuple[int, Frame | Discarded | None]:
    """The first frame in ``data``: (bytes used, message), (0, ``None``) for "need more".

    ``A5`` and ``5A`` stand nowhere but at a frame's two ends, so a new start always begins anew.
    Discarded are ``bytes_garbage`` (between frames), ``frames_cut`` (a frame without its end),
    ``frames_malformed`` (escape, length) and ``frames_checksum``.
    """
    start = data.find(_START)
    if start != 0:
        garbage = len(data) if start < 0 else start
        return garbage, Discarded("bytes_garbage", garbage) if garbage else None
    body = len(data) - len(data.lstrip(_PREAMBLE))
    end, next_start = data.find(_END, body), data.find(_START, body)
    if next_start >= 0 and not 0 <= end < next_start:
        return next_start, Discarded("frames_cut", next_start)
    if end >= 0:
        return end + 1, _open(data[body:end], end + 1)
    if len(data) < MAX_FRAME_BYTES:
        return 0, None
    return len(data), Discarded("frames_cut", len(data))


def _open(escaped: bytes, size: int) -> Frame | Discarded:
    """The frame between its two ends, checked."""
    body = _unescape(escaped)
    if body is None or len(body) < _HEADER.size + 2:
        return Discarded("frames_malformed", size)
    destination, source, _, check_mode, _, device_type, _, length = _HEADER.unpack_from(body)
    if len(body) != _HEADER.size + length + 2 or length > MAX_DATA_BYTES:
        return Discarded("frames_malformed", size)
    if check_mode != _CHECK_CRC16 or crc16_arc(body[:-2]) != int.from_bytes(body[-2:], "little"):
        return Discarded("frames_checksum", size)
    return Frame(destination, source, body[_HEADER.size : -2], device_type)


def _unescape(escaped: bytes) -> bytes | None:
    """``None`` where an escape is none."""
    if not any(lead in escaped for lead in (b"\xa6", b"\x5b")):
        return escaped
    plain = bytearray()
    at = 0
    while at < len(escaped):
        if escaped[at] not in (0xA6, 0x5B):
            plain.append(escaped[at])
            at += 1
            continue
        byte = _ESCAPED.get(escaped[at : at + 2])
        if byte is None:
            return None
        plain.append(byte)
        at += 2
    return bytes(plain)


# --- commands and replies -----------------------------------------------------------------------

_COLOURS = {"red": b"\\C1", "green": b"\\C2", "yellow": b"\\C3"}
_SHOW = b"\xa3\x06"
_ACKNOWLEDGED_GROUP = 0xA0
"""An answer to any command; not verified with a card, and no other command is ever sent."""
_DOTS = 0x8000
"""In x and width: the unit is one dot, not eight."""

MAX_TEXT_BYTES = 160

_AREA = struct.Struct("<BHHHHBBBHBBBBBBBBBI")


@dataclass(frozen=True, slots=True)
class TextArea:
    """A dynamic area with its text. Lengths in dots."""

    text: str
    colour: str = "red"
    x: int = 0
    y: int = 0
    width: int = 64
    height: int = 16
    area: int = 0
    effect: int = 1
    """1 static, 2 at once, 3 to the left, 4 to the right, 5 up, 6 down."""
    align: int = 0x0A
    """Bits 0-1 left, right, centre; bits 2-3 top, bottom, middle. 0x0A is the centre."""
    speed: int = 10


def encode_show(area: TextArea) -> bytes:
    """The data of "show this in a dynamic area" (A3 06), a reply wanted."""
    text = encode_text(area.text, area.colour)
    body = _AREA.pack(
        0,  # type: text
        area.x | _DOTS,
        area.y,
        area.width | _DOTS,
        area.height,
        area.area,
        0,  # line gap
        0,  # run mode: shown again and again
        0,  # time-out, for run modes that have one
        0,  # no voice
        0,  # no extension bytes
        area.align,
        1,  # a single line
        1,  # no wrapping
        area.effect,
        0,  # leaves without an effect
        area.speed,
        0,  # stays
        len(text),
    )
    # Reply wanted, nothing initialised, 0, no area deleted, one area.
    return _SHOW + b"\x01\x00\x00\x00\x01" + struct.pack("<H", len(body + text)) + body + text


def encode_text(text: str, colour: str) -> bytes:
    r"""GB 2312 behind its colour code; what the card's font lacks becomes ``?``.

    A backslash would begin one of the card's control codes (``\C1``, ``\n`` …): it is sent in its
    full width. An empty text is a space, so that the card has something to draw.
    """
    clean = "".join(character for character in text if character.isprintable())
    encoded = b""
    for character in clean.replace("\\", "＼") or " ":
        more = character.encode("gb2312", "replace")
        if len(encoded) + len(more) > MAX_TEXT_BYTES:
            break
        encoded += more
    return _COLOURS.get(colour, _COLOURS["red"]) + encoded


@dataclass(frozen=True, slots=True)
class Reply:
    """A card's answer to a command. ``error`` 0: done."""

    group: int
    command: int
    error: int


def read_reply(frame: Frame, address: int) -> Reply | None:
    """``None`` where the frame is no reply of the card at ``address`` to "show this": another
    card's, another host's, the answer to another command, or the echo of our own."""
    if frame.destination != CONTROLLER or len(frame.data) < 3:
        return None
    if frame.source != address and (address != _NEAREST or frame.source == CONTROLLER):
        return None
    reply = Reply(frame.data[0], frame.data[1], frame.data[2])
    answers = frame.data[:2] == _SHOW or reply.group == _ACKNOWLEDGED_GROUP
    return reply if answers else None


# --- the driver ---------------------------------------------------------------------------------


class OnbonConfig(DeviceConfig):
    """An Onbon BX-5K or BX-6K LED bar on RS-485, RS-232 or TCP (port 5005)."""

    roles: ClassVar[frozenset[Role]] = frozenset({Role.CALL_SCREEN})

    driver: Literal["onbon_bx"] = Field(title="Driver", description="Onbon BX-5K/6K font card.")
    port: Port = Field(
        title="Port", description="'/dev/serial/by-id/…' or 'socket://host:5005'. One bar a port."
    )
    baud: int = Field(
        default=57600, ge=1200, le=4_000_000, title="Baud rate", description="Serial ports only."
    )
    width: int = Field(
        default=128, ge=8, le=4096, title="Width", description="Dots, of the part that is used."
    )
    height: int = Field(
        default=16, ge=8, le=512, title="Height", description="Dots, of the part that is used."
    )
    x: int = Field(default=0, ge=0, le=4095, title="Left", description="Dots from the left edge.")
    y: int = Field(default=0, ge=0, le=511, title="Top", description="Dots from the top edge.")
    address: int = Field(
        default=1, ge=0, le=0xFFFE, title="Address", description="The card's screen address."
    )
    area: int = Field(
        default=0, ge=0, le=31, title="Area", description="Number of the card's dynamic area."
    )
    device_type: int = Field(
        default=ANY_DEVICE_TYPE,
        ge=0,
        le=255,
        title="Device type",
        description="254 is any; 97 (hexadecimal 61) is a BX-6K1.",
    )

    def claims(self) -> list[str]:
        return [port_claim(self.port)]


_REPLY_SECONDS = 0.5
_ATTEMPTS = 3
_REFRESH_SECONDS = 10.0
"""A screen that was switched off and on meanwhile shows the truth again after this."""
_RETRY_SECONDS = 2.0
_REPEAT_SECONDS = 5.0
_BLINKS = 3
_BLINK_SECONDS = 0.4

_DARK = ScreenLine("")


class OnbonScreen:
    """A ``CallScreen`` on an Onbon bar.

    The latest line wins: what was not sent yet when a newer one comes is never sent. The line is
    sent again after a reconnect, and every 10 s, because a bar that was switched off keeps
    nothing and says nothing. The same line again within 5 s is dropped (a clerk who presses
    twice), but for one with ``blink``: that is an announcement, and goes dark and bright three
    times, also when it is the line that is already there.

    A bar is ``online`` while it answers, ``offline`` when three tries stay unanswered, and at
    ``fault`` when it answers with an error byte, which is logged as it came.

    Counters: ``opened``, ``shown``, ``repeats_dropped``, ``replies_missing``,
    ``replies_error``, ``replies_unexpected``, ``bytes_garbage``, ``frames_cut``,
    ``frames_malformed``, ``frames_checksum``, ``frames_foreign``.
    """

    def __init__(
        self,
        device_id: DeviceId,
        config: OnbonConfig,
        on_status: StatusCallback,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.id = device_id
        self._config = config
        self._health = Health(device_id, on_status)
        self._monotonic = monotonic
        self._line = _DARK
        self._shown_at = float("-inf")
        self._blinks_left = 0
        self._changed = asyncio.Event()
        self._reply: asyncio.Future[Reply] | None = None
        self._unanswered = b""
        """The frame that was sent last, where its answer may still come."""
        self._late_replies = 0
        """So many answers may still come to frames other than the one in question."""

    def counters(self) -> Mapping[str, int]:
        return self._health.counters()

    def show(self, line: ScreenLine) -> None:
        now = self._monotonic()
        if line == self._line and self._still_announced(line, now):
            self._health.count("repeats_dropped")
            return
        self._line, self._shown_at = line, now
        self._blinks_left = _BLINKS if line.blink else 0
        self._changed.set()

    def _still_announced(self, line: ScreenLine, now: float) -> bool:
        """Whether the same line once more would change nothing that a person sees."""
        if line.blink:
            return self._blinks_left > 0
        return now - self._shown_at < _REPEAT_SECONDS

    async def run(self) -> None:
        link: Link | None = None
        try:
            link = await open_link(self._config.port, baud=self._config.baud)
            self._health.count("opened")
            self._unanswered = b""
            await run_together(self._read(link), self._serve(link))
        except OSError as error:
            self._health.report(DeviceStatus.OFFLINE, str(error))
            raise
        finally:
            if link is not None:
                link.close()
            if self._health.status is not DeviceStatus.OFFLINE:
                self._health.report(DeviceStatus.UNKNOWN, "not served")

    async def _read(self, link: Link) -> None:
        stream: Reassembler[Frame] = Reassembler(decode, MAX_FRAME_BYTES)
        while True:
            for message in stream.feed(await link.read()):
                self._take(message)

    def _take(self, message: Frame | Discarded) -> None:
        if isinstance(message, Discarded):
            by = message.size if message.reason == "bytes_garbage" else 1
            self._health.count(message.reason, by)
            return
        reply = read_reply(message, self._config.address)
        if reply is None:
            self._health.count("frames_foreign")
        elif self._reply is None or self._reply.done():
            self._health.count("replies_unexpected")
            self._unanswered = b""
        elif self._late_replies:
            # It may well be this frame's; then the frame is sent once more than needed. A line
            # that is not there must never pass for shown.
            self._late_replies -= 1
            self._health.count("replies_unexpected")
        else:
            if reply.error:
                _log.warning("%s answered with error: %s", self.id, message.data.hex(" "))
            self._reply.set_result(reply)

    async def _serve(self, link: Link) -> None:
        """Show the line, blink it if it is an announcement, and wait for news."""
        while True:
            self._changed.clear()
            well = await self._send(link, self._line)
            while well and self._blinks_left and not await self._news_within(_BLINK_SECONDS):
                await self._send(link, _DARK)
                if await self._news_within(_BLINK_SECONDS):
                    break
                self._blinks_left -= 1
                await self._send(link, self._line)
            if not self._changed.is_set():
                await self._news_within(_REFRESH_SECONDS if well else _RETRY_SECONDS)

    async def _news_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def _send(self, link: Link, line: ScreenLine) -> bool:
        """Whether the bar showed it. Gives up early when a newer line waits."""
        frame = encode_frame(
            Frame(
                self._config.address,
                CONTROLLER,
                encode_show(self._area(line)),
                self._config.device_type,
            )
        )
        reply: Reply | None = None
        for _ in range(_ATTEMPTS):
            reply = await self._exchange(link, frame)
            if reply is not None and reply.error == 0:
                self._health.count("shown")
                self._health.report(DeviceStatus.ONLINE)
                return True
            self._health.count("replies_missing" if reply is None else "replies_error")
            if self._changed.is_set():
                break
        if reply is None:
            self._health.report(DeviceStatus.OFFLINE, "no answer")
        else:
            self._health.report(DeviceStatus.FAULT, f"error byte {reply.error:#04x}")
        return False

    async def _exchange(self, link: Link, frame: bytes) -> Reply | None:
        self._late_replies = 1 if self._unanswered not in (b"", frame) else 0
        self._reply = asyncio.get_running_loop().create_future()
        link.write(frame)
        self._unanswered = frame
        try:
            async with asyncio.timeout(_REPLY_SECONDS):
                reply = await self._reply
        except TimeoutError:
            return None
        else:
            self._unanswered = b""
            return reply
        finally:
            self._reply = None

    def _area(self, line: ScreenLine) -> TextArea:
        config = self._config
        return TextArea(
            text=line.text,
            colour=line.colour,
            x=config.x,
            y=config.y,
            width=config.width,
            height=config.height,
            area=config.area,
        )

"""The protocol of Onbon BX-5K / BX-6K font cards: one-line LED bars above windows (窗口屏). Pure.

The card draws the text itself, in a dynamic area. Frame and command layout are those of the
maker's "BX-5K/6K font card protocol" as the hardware notes give it, compared with app-tools-zxw's
BX-6K1 network module. Error bytes of replies are not documented there: anything but 0 is failure.
"""

import struct
from dataclasses import dataclass

from edge.drivers.framing import Discarded

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
NEAREST = 0xFFFE
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
    if frame.source != address and (address != NEAREST or frame.source == CONTROLLER):
        return None
    reply = Reply(frame.data[0], frame.data[1], frame.data[2])
    answers = frame.data[:2] == _SHOW or reply.group == _ACKNOWLEDGED_GROUP
    return reply if answers else None

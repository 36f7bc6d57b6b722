"""Modbus RTU frames of discrete inputs and coils: pure, both directions.

Source: MODBUS Application Protocol Specification V1.1b3 (sections 6 and 7) and MODBUS over Serial
Line Specification V1.02 (section 2.5.1). A frame is unit, function, data, CRC low byte first; it
has no delimiter, so its length follows from what it says. Inputs and coils are 0 or 1; everything
on the wire is big-endian but the CRC.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TypeVar

MAX_FRAME = 256
MAX_UNIT = 247
"""0 is broadcast, which is never answered; 248 to 255 are reserved."""

_Message = TypeVar("_Message")
_COIL_ON = 0xFF00
_EXCEPTION = 0x80
_REMEMBERED = 512
"""Frames whose meaning is kept: a bus says the same few things all day."""
_MAX_DATA = 250
"""Bytes of bits in one reply: 2000 bits."""


class Function(IntEnum):
    """The function codes that we speak."""

    READ_INPUTS = 2
    WRITE_COIL = 5
    WRITE_COILS = 15


_FUNCTIONS = frozenset(Function)
_MOST = {Function.READ_INPUTS: 2000, Function.WRITE_COIL: 1, Function.WRITE_COILS: 1968}
"""Bits in one request."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a master asks of a unit. Made by the functions below, which check the bounds."""

    unit: int
    function: Function
    address: int
    """Of the first bit, from 0."""
    count: int
    values: tuple[int, ...] = ()
    """What is written: ``count`` of them; nothing for a read."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a unit answers."""

    unit: int
    function: Function
    address: int = 0
    """Of a write."""
    count: int = 0
    """Of a write."""
    values: tuple[int, ...] = ()
    """Of a read: the bits, filled up to whole bytes with zeros. Of a write of one: its value."""
    exception: int | None = None
    """The exception code of a refusal: 1 function, 2 address, 3 value, 4 failure, 6 busy …"""


def read_inputs(unit: int, address: int, count: int) -> Request:
    """FC02, discrete inputs. Raises ``ValueError`` outside of the specification's bounds, as all
    of these do."""
    return _request(unit, Function.READ_INPUTS, address, count)


def write_coil(unit: int, address: int, on: bool) -> Request:
    """FC05."""
    return _request(unit, Function.WRITE_COIL, address, 1, (int(on),))


def write_coils(unit: int, address: int, values: Sequence[bool]) -> Request:
    """FC15."""
    bits = tuple(int(value) for value in values)
    return _request(unit, Function.WRITE_COILS, address, len(bits), bits)


def _request(
    unit: int,
    function: Function,
    address: int,
    count: int,
    values: tuple[int, ...] = (),
) -> Request:
    if not 1 <= unit <= MAX_UNIT:
        raise ValueError(f"unit {unit} is not in 1..{MAX_UNIT}")
    most = _MOST[function]
    if not 1 <= count <= most:
        raise ValueError(f"{function.name}: count {count} is not in 1..{most}")
    if not 0 <= address <= 0x10000 - count:
        raise ValueError(f"{function.name}: address {address} with count {count} is out of range")
    return Request(unit, function, address, count, values)


# --- bytes ------------------------------------------------------------------------------------


@lru_cache(maxsize=_REMEMBERED)
def encode_request(request: Request) -> bytes:
    """The frame."""
    match request.function:
        case Function.READ_INPUTS:
            data = struct.pack(">HH", request.address, request.count)
        case Function.WRITE_COIL:
            data = struct.pack(">HH", request.address, request.values[0] * _COIL_ON)
        case Function.WRITE_COILS:
            bits = _pack_bits(request.values)
            data = struct.pack(">HHB", request.address, request.count, len(bits)) + bits
    return _frame(request.unit, request.function, data)


def encode_reply(reply: Reply) -> bytes:
    if reply.exception is not None:
        return _frame(reply.unit, reply.function | _EXCEPTION, bytes([reply.exception]))
    if reply.function is Function.READ_INPUTS:
        bits = _pack_bits(reply.values)
        return _frame(reply.unit, reply.function, bytes([len(bits)]) + bits)
    one = reply.function is Function.WRITE_COIL
    second = reply.values[0] * _COIL_ON if one else reply.count
    return _frame(reply.unit, reply.function, struct.pack(">HH", reply.address, second))


def reply_size(request: Request) -> int:
    """Bytes of the reply that does what was asked."""
    return 5 + (request.count + 7) // 8 if request.function is Function.READ_INPUTS else 8


@lru_cache(maxsize=_REMEMBERED)
def decode_reply(data: bytes, request: Request) -> tuple[int, Reply | None]:
    """The reply to ``request`` at the head of ``data``: how many bytes are done with, and it.

    ``(0, None)``: more bytes are needed. ``(n, None)``: the first n bytes are no part of such a
    reply (noise, a wrong checksum, the late reply of another unit): drop them and call again.
    Only what ``request`` can be answered with is a reply, so noise can't promise a long frame
    and make us wait for it.
    """

    def length(rest: bytes) -> int | None:
        if rest[0] != request.unit:
            return 0
        if len(rest) < 2:
            return None
        if rest[1] == request.function | _EXCEPTION:
            return 5
        return reply_size(request) if rest[1] == request.function else 0

    return _decode(data, length, lambda frame: _parse_reply(frame, request))


def decode_request(data: bytes) -> tuple[int, Request | None]:
    """As ``decode_reply``, for who plays the unit: any request to any unit."""
    return _decode(data, _request_length, _parse_request)


def _decode(
    data: bytes,
    length: Callable[[bytes], int | None],
    parse: Callable[[bytes], _Message | None],
) -> tuple[int, _Message | None]:
    """``length`` says how long the frame is that begins here: 0 none can, ``None`` not yet known.

    A whole frame further on proves that what stands before it is garbage.
    """
    unfinished: int | None = None
    for start in range(len(data)):
        size = length(data[start : start + MAX_FRAME])
        if size == 0:
            continue
        if size is None or start + size > len(data):
            unfinished = start if unfinished is None else unfinished
            continue
        frame = data[start : start + size]
        if crc16(frame) != 0:  # the CRC over data and its own CRC is 0
            continue
        if start > 0:
            return start, None
        return size, parse(frame)
    return len(data) if unfinished is None else unfinished, None


def _request_length(rest: bytes) -> int | None:
    if len(rest) < 2:
        return None if rest[0] <= MAX_UNIT else 0
    if rest[0] > MAX_UNIT or rest[1] not in _FUNCTIONS:
        return 0
    if rest[1] != Function.WRITE_COILS:
        return 8
    if len(rest) < 7:
        return None
    return 9 + rest[6] if rest[6] <= _MAX_DATA - 4 else 0


def _parse_request(frame: bytes) -> Request | None:
    """``None``: the checksum is right and the content isn't."""
    unit, function = frame[0], Function(frame[1])
    address, second = struct.unpack_from(">HH", frame, 2)
    try:
        count = 1 if function is Function.WRITE_COIL else second
        values = _written(function, second, frame[7:-2])
        request = _request(unit, function, address, count, values)
    except ValueError:  # out of bounds
        return None
    return request if encode_request(request) == frame else None


def _written(function: Function, second: int, data: bytes) -> tuple[int, ...]:
    """What a request writes; ``second`` is its second word, a value or a count."""
    match function:
        case Function.WRITE_COIL:
            return (int(second == _COIL_ON),)
        case Function.WRITE_COILS:
            return _unpack_bits(data)[:second]
        case Function.READ_INPUTS:
            return ()


def _parse_reply(frame: bytes, request: Request) -> Reply | None:
    """``None``: the checksum is right, and yet it answers something else."""
    unit, function = request.unit, request.function
    if frame[1] & _EXCEPTION:
        return Reply(unit, function, exception=frame[2])
    if function is Function.READ_INPUTS:
        reply = Reply(unit, function, values=_unpack_bits(frame[3:-2]))
    else:
        values = request.values if function is Function.WRITE_COIL else ()
        reply = Reply(unit, function, request.address, request.count, values)
    return reply if encode_reply(reply) == frame else None


def _frame(unit: int, function: int, data: bytes) -> bytes:
    frame = bytes([unit, function]) + data
    return frame + struct.pack("<H", crc16(frame))


def _pack_bits(bits: Sequence[int]) -> bytes:
    """The first bit is the lowest of the first byte."""
    packed = bytearray((len(bits) + 7) // 8)
    for index, bit in enumerate(bits):
        packed[index // 8] |= bit << index % 8
    return bytes(packed)


def _unpack_bits(data: bytes) -> tuple[int, ...]:
    return tuple(byte >> bit & 1 for byte in data for bit in range(8))


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0xA001 if byte & 1 else 0)
    return byte


_CRC_TABLE = tuple(_crc_of_byte(byte) for byte in range(256))


def crc16(data: bytes) -> int:
    """CRC-16/MODBUS: polynomial 0x8005 reflected, start 0xFFFF (MODBUS over Serial Line, 6.2.2)."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc

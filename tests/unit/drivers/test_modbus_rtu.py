"""Modbus RTU frames against byte tables of the specification and against pymodbus."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.bit_message import (
    ReadDiscreteInputsRequest,
    WriteMultipleCoilsRequest,
    WriteSingleCoilRequest,
)

from edge.drivers.modbus_rtu import (
    MAX_FRAME,
    Function,
    Reply,
    Request,
    crc16,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
    read_inputs,
    write_coil,
    write_coils,
)

units = st.integers(1, 247)
addresses = st.integers(0, 0xFFFF - 2000)
requests = st.one_of(
    st.builds(read_inputs, units, addresses, st.integers(1, 2000)),
    st.builds(write_coil, units, addresses, st.booleans()),
    st.builds(write_coils, units, addresses, st.lists(st.booleans(), min_size=1, max_size=1968)),
)


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[Request, Reply]:
    """A request and a reply that fits it."""
    request = draw(requests)
    if draw(st.booleans()):
        code = draw(st.integers(1, 255))
        return request, Reply(request.unit, request.function, exception=code)
    if request.function is Function.READ_INPUTS:
        size = (request.count + 7) // 8 * 8
        values = tuple(draw(st.lists(st.integers(0, 1), min_size=size, max_size=size)))
        return request, Reply(request.unit, request.function, values=values)
    values = request.values if request.function is Function.WRITE_COIL else ()
    reply = Reply(request.unit, request.function, request.address, request.count, values)
    return request, reply


@pytest.mark.parametrize(
    ("request_", "frame"),
    [
        # Waveshare's own examples for the Modbus RTU IO 8CH, unit 1.
        (write_coil(1, 0, True), "01 05 00 00 FF 00 8C 3A"),
        (write_coil(1, 0, False), "01 05 00 00 00 00 CD CA"),
        (write_coils(1, 0, [True] * 8), "01 0F 00 00 00 08 01 FF BE D5"),
        (read_inputs(1, 0, 8), "01 02 00 00 00 08 79 CC"),
    ],
)
def test_requests_are_the_bytes_of_the_data_sheets(request_: Request, frame: str) -> None:
    data = bytes.fromhex(frame)
    assert encode_request(request_) == data
    assert decode_request(data) == (len(data), request_)


def test_the_crc_has_the_check_value_of_the_catalogue() -> None:
    assert crc16(b"123456789") == 0x4B37


@given(requests)
def test_pymodbus_makes_the_same_frames(request: Request) -> None:
    bits = [value == 1 for value in request.values]
    place: dict[str, Any] = {"dev_id": request.unit, "address": request.address}
    theirs = {
        Function.READ_INPUTS: lambda: ReadDiscreteInputsRequest(**place, count=request.count),
        Function.WRITE_COIL: lambda: WriteSingleCoilRequest(**place, bits=bits),
        Function.WRITE_COILS: lambda: WriteMultipleCoilsRequest(**place, bits=bits),
    }[request.function]()
    assert encode_request(request) == FramerRTU(DecodePDU(True)).buildFrame(theirs)


@given(exchanges())
def test_pymodbus_understands_the_replies_that_we_encode(exchange: tuple[Request, Reply]) -> None:
    request, reply = exchange
    frame = encode_reply(reply)
    used, pdu = FramerRTU(DecodePDU(False)).handleFrame(frame, request.unit, 0)
    assert used == len(frame)
    assert pdu is not None
    assert pdu.dev_id == request.unit
    if reply.exception is not None:
        assert pdu.exception_code == reply.exception
    elif request.function is Function.READ_INPUTS:
        assert [int(bit) for bit in pdu.bits] == list(reply.values)
    else:
        assert pdu.address == reply.address


@given(requests)
def test_a_request_survives_the_wire(request: Request) -> None:
    frame = encode_request(request)
    assert len(frame) <= MAX_FRAME
    assert decode_request(frame) == (len(frame), request)


@given(exchanges())
def test_a_reply_survives_the_wire(exchange: tuple[Request, Reply]) -> None:
    request, reply = exchange
    frame = encode_reply(reply)
    assert decode_reply(frame, request) == (len(frame), reply)


@given(exchanges(), st.data())
def test_a_half_frame_waits_for_the_rest(
    exchange: tuple[Request, Reply], data: st.DataObject
) -> None:
    request, reply = exchange
    frame = encode_reply(reply)
    cut = data.draw(st.integers(0, len(frame) - 1))
    assert decode_reply(frame[:cut], request) == (0, None)
    frame = encode_request(request)
    cut = data.draw(st.integers(0, len(frame) - 1))
    assert decode_request(frame[:cut]) == (0, None)


def drain(data: bytes, request: Request) -> tuple[list[Reply], int, int]:
    """All replies in ``data``, how many bytes were garbage, how many are left."""
    replies, garbage = [], 0
    while data:
        used, reply = decode_reply(data, request)
        if used == 0:
            break
        if reply is None:
            garbage += used
        else:
            replies.append(reply)
        data = data[used:]
    return replies, garbage, len(data)


@given(exchanges(), st.binary(max_size=40), st.binary(max_size=40))
def test_a_reply_is_found_in_noise(
    exchange: tuple[Request, Reply], before: bytes, after: bytes
) -> None:
    request, reply = exchange
    frame = encode_reply(reply)
    replies, garbage, left = drain(before + frame + after, request)
    assert reply in replies
    assert garbage + left + sum(len(encode_reply(found)) for found in replies) == len(
        before + frame + after
    )


@given(exchanges(), st.data())
def test_a_damaged_reply_is_no_reply(exchange: tuple[Request, Reply], data: st.DataObject) -> None:
    request, reply = exchange
    frame = bytearray(encode_reply(reply))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    assert drain(bytes(frame), request)[0] == []


@given(st.binary(max_size=2000), requests)
def test_garbage_is_dropped_and_what_is_kept_is_bounded(noise: bytes, request: Request) -> None:
    _, _, left = drain(noise, request)
    assert left < MAX_FRAME
    while noise:
        used, _ = decode_request(noise)
        if used == 0:
            break
        noise = noise[used:]
    assert len(noise) < MAX_FRAME


def test_the_late_reply_of_another_unit_is_no_answer() -> None:
    late = encode_reply(Reply(4, Function.READ_INPUTS, values=(1,) + (0,) * 7))
    assert decode_reply(late, read_inputs(5, 0, 8)) == (len(late), None)


def test_the_echo_of_another_write_is_no_answer() -> None:
    late = encode_reply(Reply(4, Function.WRITE_COIL, 1, 1, (1,)))
    assert decode_reply(late, write_coil(4, 2, True)) == (len(late), None)


@pytest.mark.parametrize(
    "make",
    [
        lambda: read_inputs(0, 0, 8),
        lambda: read_inputs(248, 0, 8),
        lambda: read_inputs(1, 0, 0),
        lambda: read_inputs(1, 0, 2001),
        lambda: read_inputs(1, 0xFFFF, 2),
        lambda: write_coils(1, 0, []),
        lambda: write_coils(1, 0, [True] * 1969),
    ],
)
def test_what_the_specification_forbids_is_not_sent(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=r"not in|out of range"):
        make()

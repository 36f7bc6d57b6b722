"""Byte tables, properties, and python-escpos as an independent encoder."""

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from escpos.constants import QR_ECLEVEL_M
from escpos.printer import Dummy
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contract.names import DeviceStatus, Language
from edge.drivers.escpos import (
    ASK_STATUS,
    BARRIER,
    CLEAR_BUFFERS,
    MAX_QR_BYTES,
    MAX_REPLY_BYTES,
    AutomaticStatus,
    BarrierReached,
    BuffersCleared,
    RealTimeStatus,
    Reply,
    TicketLayout,
    decode,
    encode_qr,
    encode_scrap,
    encode_text,
    encode_ticket,
    status_of_answers,
)
from edge.drivers.escpos_printer import EscposConfig
from edge.drivers.framing import Discarded, Reassembler
from edge.drivers.roles import Slip

SLIP = Slip(
    ticket_id="01JZZZZZZZZZZZZZZZZZZZZZZZ",
    number="A012",
    hall_name={Language.ZH: "城东营业厅", Language.EN: "East Hall"},
    service_name={Language.ZH: "缴费", Language.EN: "Payment"},
    issued_at=datetime(2026, 3, 5, 10, 42, tzinfo=ZoneInfo("Asia/Shanghai")),
    ahead=3,
    wait_minutes=(12, 20),
    languages=(Language.ZH, Language.EN),
    qr="https://hall.example/t/01JZZZZZZZZZZZZZZZZZZZZZZZ",
)

texts = st.text(max_size=60)
slips = st.builds(
    Slip,
    ticket_id=st.just("01JZZZZZZZZZZZZZZZZZZZZZZZ"),
    number=st.from_regex(r"[A-Z]{1,2}[0-9]{1,5}", fullmatch=True),
    hall_name=st.dictionaries(st.sampled_from(Language), texts),
    service_name=st.dictionaries(st.sampled_from(Language), texts),
    issued_at=st.datetimes(
        min_value=datetime(1970, 1, 2),  # noqa: DTZ001
        max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    ),
    ahead=st.integers(0, 10_000),
    wait_minutes=st.none() | st.tuples(st.integers(0, 999), st.integers(0, 999)),
    languages=st.permutations(list(Language)).map(tuple),
    qr=st.text(max_size=800),
    reprint=st.booleans(),
)
layouts = st.builds(
    TicketLayout,
    columns=st.sampled_from([32, 48]),
    cut=st.sampled_from(["full", "partial", "none"]),
    qr_module_dots=st.integers(2, 16),
)


def printed_text(data: bytes) -> str:
    """The ticket as text, after undoing the Chinese mode."""
    return data.decode("gb18030", "replace").replace("\x1c&", "").replace("\x1c.", "")


# --- the ticket ---------------------------------------------------------------------------------


def test_a_ticket_says_all_that_a_customer_needs_in_both_languages_in_order() -> None:
    text = printed_text(encode_ticket(SLIP, TicketLayout()))
    wanted = [
        "城东营业厅",
        "East Hall",
        "A012",
        "缴费",
        "前面还有 3 人",
        "约 12 分钟, 最长约 20 分钟",
        "Payment",
        "3 ahead of you",
        "about 12 min, at most 20",
        "2026-03-05 10:42",
        SLIP.qr,
    ]
    places = [text.index(words) for words in wanted]
    assert places == sorted(places)
    swapped = replace(SLIP, languages=(Language.EN, Language.ZH))
    text = printed_text(encode_ticket(swapped, TicketLayout()))
    assert text.index("Payment") < text.index("缴费")


def test_a_wait_that_is_no_range_is_said_once() -> None:
    text = printed_text(encode_ticket(replace(SLIP, wait_minutes=(1, 1)), TicketLayout()))
    assert "约 1 分钟" in text
    assert "about 1 min" in text
    assert "最长" not in text
    assert "at most" not in text


def test_an_unknown_wait_is_not_mentioned_and_nobody_ahead_is_said() -> None:
    text = printed_text(encode_ticket(replace(SLIP, wait_minutes=None, ahead=0), TicketLayout()))
    assert "分钟" not in text
    assert "min" not in text
    assert "前面无人等候" in text
    assert "nobody ahead of you" in text


def test_only_a_reprint_is_marked_as_one() -> None:
    assert "补打 REPRINT" not in printed_text(encode_ticket(SLIP, TicketLayout()))
    again = replace(SLIP, reprint=True)
    assert "补打 REPRINT" in printed_text(encode_ticket(again, TicketLayout()))


@pytest.mark.parametrize(
    ("number", "columns", "size"),
    [("A012", 48, 0x77), ("A012", 32, 0x77), ("AB12345", 48, 0x55), ("AB12345", 32, 0x33)],
)
def test_the_number_is_as_big_as_the_paper_is_wide(number: str, columns: int, size: int) -> None:
    ticket = encode_ticket(replace(SLIP, number=number), TicketLayout(columns=columns))
    assert b"\x1d!" + bytes((size,)) + b"\x1bE\x01" + number.encode() in ticket


def test_chinese_goes_out_in_gb18030_between_fs_marks_and_english_without() -> None:
    assert encode_text("缴费") == b"\x1c&\xbd\xc9\xb7\xd1\x1c."
    assert encode_text("Payment") == b"Payment"
    assert encode_text("3 号\n窗口\x1b@") == b"\x1c&3 \xba\xc5 \xb4\xb0\xbf\xda@\x1c."


def test_qr_code_is_byte_for_byte_that_of_python_escpos() -> None:
    oracle = Dummy()
    oracle.qr(SLIP.qr, native=True, size=6, ec=QR_ECLEVEL_M)
    assert encode_qr(SLIP.qr, 6) == oracle.output
    assert encode_qr(SLIP.qr, 6) in encode_ticket(SLIP, TicketLayout(qr_module_dots=6))


def test_styles_and_alignment_are_those_of_python_escpos() -> None:
    oracle = Dummy()
    oracle.set(align="center")
    assert b"\x1ba\x01" in oracle.output
    oracle = Dummy()
    oracle.set(bold=True, custom_size=True, width=8, height=8)
    assert b"\x1bE\x01" in oracle.output
    assert b"\x1d!\x77" in oracle.output
    ticket = encode_ticket(SLIP, TicketLayout())
    assert ticket.startswith(b"\x1ba\x01")
    assert b"\x1d!\x77\x1bE\x01A012\n" in ticket


def test_cut_is_that_of_python_escpos() -> None:
    oracle = Dummy()
    oracle.cut(feed=False)
    assert oracle.output == b"\x1dV\x42\x00"
    assert encode_ticket(SLIP, TicketLayout(cut="partial")).endswith(oracle.output)
    assert encode_scrap(TicketLayout(cut="partial")).endswith(oracle.output)
    assert encode_ticket(SLIP, TicketLayout(cut="full")).endswith(b"\x1dV\x41\x00")
    oracle = Dummy()
    oracle.print_and_feed(6)
    assert encode_ticket(SLIP, TicketLayout(cut="none")).endswith(oracle.output)


@given(slips, layouts)
def test_any_slip_becomes_a_ticket_without_real_time_commands(
    slip: Slip, layout: TicketLayout
) -> None:
    ticket = encode_ticket(slip, layout)
    assert slip.number.encode() in ticket
    for real_time in (b"\x10\x04", b"\x10\x05", b"\x10\x14", b"\x1b@", b"\x1dr", b"\x1da"):
        assert real_time not in ticket
    assert len(ticket) < 4096, "has to fit the buffer of a printer without paper"


def test_a_qr_text_that_is_too_long_or_unclean_is_left_out_and_not_cut_short() -> None:
    for text in ("x" * (MAX_QR_BYTES + 1), "a\x10\x04\x01"):
        assert b"\x1d(k" not in encode_ticket(replace(SLIP, qr=text), TicketLayout())
    with pytest.raises(ValueError, match="at most"):
        encode_qr("x" * (MAX_QR_BYTES + 1), 6)


# --- the replies --------------------------------------------------------------------------------


def decode_all(data: bytes) -> list[Reply | Discarded]:
    return list(Reassembler[Reply](decode, MAX_REPLY_BYTES).feed(data))


@pytest.mark.parametrize(
    ("data", "messages"),
    [
        ("12", [RealTimeStatus(0x12)]),
        ("1a32127e", [RealTimeStatus(byte) for byte in (0x1A, 0x32, 0x12, 0x7E)]),
        ("16", [RealTimeStatus(0x16)]),
        ("10000000", [AutomaticStatus(bytes.fromhex("10000000"))]),
        ("18000f00", [AutomaticStatus(bytes.fromhex("18000f00"))]),
        ("00", [BarrierReached(0)]),
        ("03", [BarrierReached(3)]),
        ("372500", [BuffersCleared()]),
        ("00 372500 12", [BarrierReached(0), BuffersCleared(), RealTimeStatus(0x12)]),
        ("ff 12", [Discarded("bytes_garbage", 1), RealTimeStatus(0x12)]),
        ("8485 00", [Discarded("bytes_garbage", 2), BarrierReached(0)]),
        ("10 12", [Discarded("bytes_garbage", 1), RealTimeStatus(0x12)]),
        ("10 00 12", [Discarded("bytes_garbage", 1), BarrierReached(0), RealTimeStatus(0x12)]),
        ("37 12", [Discarded("bytes_garbage", 1), RealTimeStatus(0x12)]),
        ("37 25", []),
        ("10 00 00", []),
        ("41", [Discarded("bytes_garbage", 1)]),
        ("11 13", [Discarded("bytes_garbage", 2)]),
    ],
)
def test_replies_are_told_apart_by_their_fixed_bits(
    data: str, messages: list[Reply | Discarded]
) -> None:
    assert decode_all(bytes.fromhex(data)) == messages


replies = st.one_of(
    st.sampled_from([0x12, 0x16, 0x1A, 0x32, 0x7E]).map(lambda byte: bytes((byte,))),
    st.sampled_from(["10000000", "10000300", "18000f00", "38000f00"]).map(bytes.fromhex),
    st.sampled_from([b"\x00", b"\x03", b"\x37\x25\x00"]),
)


@given(st.lists(replies), st.lists(st.integers(1, 5)))
def test_replies_survive_any_split_and_join(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    stream: Reassembler[Reply] = Reassembler(decode, MAX_REPLY_BYTES)
    messages = []
    at = 0
    for size in [*cuts, len(data)]:
        messages += list(stream.feed(data[at : at + size]))
        at += size
    assert messages == [message for part in parts for message in decode_all(part)]
    assert not any(isinstance(message, Discarded) for message in messages)


@given(st.binary(max_size=300))
def test_garbage_never_raises_is_accounted_for_and_leaves_at_most_three_bytes(
    data: bytes,
) -> None:
    stream: Reassembler[Reply] = Reassembler(decode, MAX_REPLY_BYTES)
    used = 0
    for message in stream.feed(data):
        match message:
            case Discarded(_, size):
                used += size
            case AutomaticStatus():
                used += 4
            case BuffersCleared():
                used += 3
            case _:
                used += 1
    assert used + stream.pending() == len(data)
    assert stream.pending() < MAX_REPLY_BYTES


@given(st.binary(max_size=50))
def test_status_answers_are_found_behind_any_garbage(noise: bytes) -> None:
    assert decode_all(noise + bytes.fromhex("12121212"))[-4:] == [RealTimeStatus(0x12)] * 4


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ("12121212", DeviceStatus.ONLINE),
        ("16121212", DeviceStatus.ONLINE),  # bit 2 of the first is the cash drawer
        ("1212121e", DeviceStatus.PAPER_LOW),
        ("1a32127e", DeviceStatus.PAPER_OUT),
        ("1a161212", DeviceStatus.COVER_OPEN),
        ("1a36127e", DeviceStatus.COVER_OPEN),
        ("1a521a12", DeviceStatus.FAULT),
        ("1a123212", DeviceStatus.FAULT),
        ("1a321212", DeviceStatus.PAPER_OUT),  # the second alone says why it is offline
        ("1a521212", DeviceStatus.FAULT),
        ("1a1a1212", DeviceStatus.OFFLINE),
    ],
)
def test_status_answers_become_the_status_that_a_person_would_name(
    answers: str, status: DeviceStatus
) -> None:
    assert status_of_answers(bytes.fromhex(answers))[0] is status


def test_command_bytes_are_those_of_the_reference() -> None:
    assert bytes((16, 20, 8, 1, 3, 20, 1, 6, 2, 8)) == CLEAR_BUFFERS
    assert bytes((29, 114, 1)) == BARRIER
    assert b"".join(bytes((16, 4, n)) for n in (1, 2, 3, 4)) == ASK_STATUS


# --- the configuration --------------------------------------------------------------------------


def test_config_refuses_what_it_does_not_know() -> None:
    good = {"driver": "escpos", "role": "printer", "port": "socket://10.0.0.9:9100"}
    assert EscposConfig.model_validate(good).layout.columns == 48
    assert EscposConfig.model_validate({**good, "paper_mm": 58}).layout.columns == 32
    for bad in ({"papermm": 58}, {"paper_mm": 76}, {"port": "COM3"}, {"role": "caller"}):
        with pytest.raises(ValidationError):
            EscposConfig.model_validate({**good, **bad})


def test_every_field_explains_itself() -> None:
    for name, field in EscposConfig.model_fields.items():
        assert field.title, name
        assert field.description, name

"""Byte tables, properties, and app-tools-zxw with crcmod as an independent encoder."""

import importlib
import warnings
from typing import Any

import crcmod.predefined
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.drivers.framing import Discarded, Reassembler
from edge.drivers.onbon_bx import (
    CONTROLLER,
    MAX_DATA_BYTES,
    MAX_FRAME_BYTES,
    MAX_TEXT_BYTES,
    Frame,
    Reply,
    TextArea,
    crc16_arc,
    decode,
    encode_frame,
    encode_show,
    encode_text,
    read_reply,
)
from edge.drivers.onbon_screen import OnbonConfig, OnbonScreen
from edge.drivers.roles import ScreenLine
from simulator.devices.bx_screen import VirtualBxScreen
from simulator.devices.endpoint import TcpEndpoint

frames = st.builds(
    Frame,
    destination=st.integers(0, 0xFFFF),
    source=st.integers(0, 0xFFFF),
    data=st.binary(max_size=200)
    | st.lists(st.sampled_from([0xA5, 0xA6, 0x5A, 0x5B]), max_size=64).map(bytes),
    device_type=st.integers(0, 255),
)
areas = st.builds(
    TextArea,
    text=st.text(max_size=200),
    colour=st.sampled_from(["red", "green", "yellow"]),
    x=st.integers(0, 4095),
    y=st.integers(0, 511),
    width=st.integers(8, 4096),
    height=st.integers(8, 512),
    area=st.integers(0, 31),
    effect=st.integers(1, 6),
    align=st.integers(0, 15),
    speed=st.integers(0, 255),
)


def decode_all(data: bytes) -> list[Frame | Discarded]:
    return list(Reassembler[Frame](decode, MAX_FRAME_BYTES).feed(data))


# --- independent encoders -----------------------------------------------------------------------


def led_module() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in its source
        return importlib.import_module(
            "app_tools_zxw.SDK_硬件读写.LED显示屏.仰邦BX6K1_网口_使用公共封装函数"
        )


@given(st.binary(max_size=300))
def test_crc_is_that_of_crcmod(data: bytes) -> None:
    assert crc16_arc(data) == crcmod.predefined.mkPredefinedCrcFun("crc-16")(data)


def test_crc_check_value() -> None:
    assert crc16_arc(b"123456789") == 0xBB3D


@given(
    number=st.from_regex(r"[A-Z][0-9]{3}", fullmatch=True),
    window=st.integers(1, 40),
    colour=st.sampled_from([(0, "red"), (1, "green"), (2, "yellow")]),
    effect=st.integers(1, 6),
    speed=st.integers(0, 255),
    area=st.integers(0, 31),
    width=st.integers(8, 255),
    height=st.sampled_from([16, 32]),
)
def test_a_frame_is_byte_for_byte_that_of_app_tools_zxw(  # noqa: PLR0917
    number: str,
    window: int,
    colour: tuple[int, str],
    effect: int,
    speed: int,
    area: int,
    width: int,
    height: int,
) -> None:
    """With its source address (8001), device type (61) and alignment (0), that is. Ours differ:
    8000, as in its own ping command; FE, any type, likewise; and centred."""
    text = f"{number} 请到 {window} 号窗口"
    theirs = led_module().LED通讯._修改文字_生成命令(
        text,
        color=colour[0],
        speed=speed,
        显示方式=effect,
        特技停留时间=0,
        动态区运行模式=0,
        更新区域编号=area,
        更新区域坐标=[0, 0x80, 0, 0],
        更新区域宽高=[width, 0x80, height, 0],
    )
    ours = encode_show(
        TextArea(
            text,
            colour[1],
            width=width,
            height=height,
            area=area,
            effect=effect,
            speed=speed,
            align=0,
        )
    )
    assert encode_frame(Frame(1, 0x8001, ours, device_type=0x61)) == bytes(theirs)


def test_its_ping_frame_is_decoded() -> None:
    ping = bytes.fromhex("a5" * 8 + "0100 0080 000000 00 00 00 fe 02 0500 a200010000 68f8 5a")
    frame = Frame(1, CONTROLLER, bytes.fromhex("a200010000"), device_type=0xFE)
    assert decode(ping) == (len(ping), frame)
    assert encode_frame(frame) == ping


# --- our codec with itself, and with the virtual bar's ------------------------------------------


@given(frames)
def test_a_frame_survives_the_wire(frame: Frame) -> None:
    wire = encode_frame(frame)
    assert len(wire) <= MAX_FRAME_BYTES
    assert decode(wire) == (len(wire), frame)
    assert not {0xA5, 0x5A} & set(wire[8:-1]), "they stand at the ends only"


@given(st.lists(frames, max_size=5), st.lists(st.integers(1, 40)))
def test_frames_survive_any_split_and_join(sent: list[Frame], cuts: list[int]) -> None:
    data = b"".join(encode_frame(frame) for frame in sent)
    stream: Reassembler[Frame] = Reassembler(decode, MAX_FRAME_BYTES)
    received = []
    at = 0
    for size in [*cuts, len(data)]:
        received += list(stream.feed(data[at : at + size]))
        at += size
    assert received == sent
    assert stream.pending() == 0


@given(st.binary(max_size=100), frames, st.binary(max_size=100))
def test_a_frame_is_found_between_any_garbage(before: bytes, frame: Frame, after: bytes) -> None:
    assert frame in decode_all(before + encode_frame(frame) + after)


@given(st.binary(max_size=4000))
def test_garbage_never_raises_and_never_grows_the_buffer(data: bytes) -> None:
    stream: Reassembler[Frame] = Reassembler(decode, MAX_FRAME_BYTES)
    for at in range(0, len(data), 97):
        list(stream.feed(data[at : at + 97]))
        assert stream.pending() < MAX_FRAME_BYTES


def test_a_frame_without_an_end_is_given_up() -> None:
    stream: Reassembler[Frame] = Reassembler(decode, MAX_FRAME_BYTES)
    messages = list(stream.feed(b"\xa5" + b"x" * (MAX_FRAME_BYTES + 100)))
    assert messages == [Discarded("frames_cut", MAX_FRAME_BYTES + 101)]
    assert stream.pending() == 0


@given(frames, st.data())
def test_a_damaged_byte_is_never_taken_for_the_frame(frame: Frame, data: st.DataObject) -> None:
    wire = bytearray(encode_frame(frame))
    at = data.draw(st.integers(8, len(wire) - 2))
    wire[at] ^= 1 << data.draw(st.integers(0, 7))
    assert not [message for message in decode_all(bytes(wire)) if isinstance(message, Frame)]


SOUND = encode_frame(Frame(1, CONTROLLER, b"\xa0\x00\x00"))


@pytest.mark.parametrize(
    ("data", "reasons"),
    [
        (b"", []),
        (b"noise", ["bytes_garbage"]),
        (SOUND[:-1], []),
        (SOUND[:-1] + SOUND, ["frames_cut"]),
        (SOUND[:-3] + b"\x00\x00\x5a", ["frames_checksum"]),
        (b"\xa5\x01\x5a", ["frames_malformed"]),
        (b"\xa5" + b"\xa6\x03" * 20 + b"\x5a", ["frames_malformed"]),
        (b"\xa5" + b"\xa6\x5a", ["frames_malformed"]),
        (SOUND.replace(b"\x03\x00\xa0", b"\x04\x00\xa0"), ["frames_malformed"]),
    ],
)
def test_what_is_thrown_away_has_a_name(data: bytes, reasons: list[str]) -> None:
    messages = decode_all(data)
    found = [message.reason for message in messages if isinstance(message, Discarded)]
    assert found == reasons


def test_too_much_data_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ValueError, match="data bytes"):
        encode_frame(Frame(1, CONTROLLER, b"x" * (MAX_DATA_BYTES + 1)))


class Wall(TcpEndpoint):
    """An endpoint that is never plugged in; what the bar answers is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""

    def send(self, data: bytes) -> None:
        self.sent += data

    def deliver(self, data: bytes) -> None:
        for receive in self._receivers:
            receive(data)


@given(areas)
async def test_the_virtual_bar_reads_every_frame_and_its_answer_is_read(area: TextArea) -> None:
    wall = Wall()
    bar = VirtualBxScreen(wall)
    wall.deliver(encode_frame(Frame(1, CONTROLLER, encode_show(area))))
    assert bar.counters == {"updates": 1}
    shown = bar.areas[area.area]
    assert (shown.x, shown.y, shown.width, shown.height) == (
        area.x,
        area.y,
        area.width,
        area.height,
    )
    assert shown.colour == area.colour
    (answer,) = decode_all(wall.sent)
    assert isinstance(answer, Frame)
    assert read_reply(answer, 1) == Reply(0xA3, 0x06, 0)


# --- text and replies ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "colour", "encoded"),
    [
        ("A012", "red", b"\\C1A012"),
        ("A012 请到 3 号窗口", "green", b"\\C2A012 " + "请到 3 号窗口".encode("gb2312")),
        ("", "yellow", b"\\C3 "),
        ("a\\C2b", "red", b"\\C1a" + "＼".encode("gb2312") + b"C2b"),
        ("a\x00\n\x1bb", "red", b"\\C1ab"),
        ("☃", "red", b"\\C1?"),
    ],
)
def test_text_can_carry_no_control_code_of_its_own(text: str, colour: str, encoded: bytes) -> None:
    assert encode_text(text, colour) == encoded


def test_a_long_text_is_cut_between_characters() -> None:
    encoded = encode_text("窗" * 500, "red")
    assert len(encoded) == 3 + MAX_TEXT_BYTES
    assert encoded[3:].decode("gb2312") == "窗" * (MAX_TEXT_BYTES // 2)


@given(st.text(max_size=300), st.text(max_size=5))
def test_any_text_can_be_shown(text: str, colour: str) -> None:
    assert 3 < len(encode_text(text, colour)) <= 3 + MAX_TEXT_BYTES


def test_the_echo_of_our_own_frame_is_no_reply() -> None:
    assert read_reply(Frame(1, CONTROLLER, b"\xa3\x06\x01\x00\x00"), 1) is None
    assert read_reply(Frame(CONTROLLER, 1, b"\xa3\x06"), 1) is None
    assert read_reply(Frame(CONTROLLER, 1, b"\xa3\x06\x07\x00\x00"), 1) == Reply(0xA3, 6, 7)


def test_the_answer_of_another_card_or_to_another_command_confirms_nothing() -> None:
    done = b"\xa3\x06\x00\x00\x00"
    assert read_reply(Frame(CONTROLLER, 2, done), 1) is None
    assert read_reply(Frame(0x8001, 1, done), 1) is None
    assert read_reply(Frame(CONTROLLER, 1, b"\xa2\x00\x00\x00\x00"), 1) is None
    assert read_reply(Frame(CONTROLLER, 7, done), 0xFFFE) == Reply(0xA3, 6, 0), "whoever is near"
    assert read_reply(Frame(CONTROLLER, CONTROLLER, done), 0xFFFE) is None


# --- what is a repeat ---------------------------------------------------------------------------


async def test_the_same_line_within_five_seconds_is_dropped_unless_announced_again() -> None:
    now = 100.0
    config = OnbonConfig(
        driver="onbon_bx", role="call_screen", window=3, port="socket://10.0.0.9:5005"
    )
    screen = OnbonScreen("bar", config, lambda *_: None, monotonic=lambda: now)

    def dropped() -> int:
        return screen.counters().get("repeats_dropped", 0)

    plain = ScreenLine("A012 请到 3 号窗口")
    screen.show(plain)
    now += 4.9
    screen.show(plain)
    assert dropped() == 1
    now += 0.2
    screen.show(plain)
    assert dropped() == 1
    recall = ScreenLine(plain.text, blink=True)
    screen.show(recall)
    assert dropped() == 1
    screen.show(recall)
    assert dropped() == 2, "it is about to blink already"


def test_config_refuses_what_it_does_not_know() -> None:
    good = {"driver": "onbon_bx", "role": "call_screen", "window": 3, "port": "/dev/ttyAMA1"}
    assert OnbonConfig.model_validate(good).baud == 57600
    for bad in ({"hight": 16}, {"width": 0}, {"address": 70000}, {"role": "printer"}):
        with pytest.raises(ValidationError):
            OnbonConfig.model_validate({**good, **bad})


def test_every_field_explains_itself() -> None:
    for name, field in OnbonConfig.model_fields.items():
        assert field.title, name
        assert field.description, name

"""The virtual window screen against frames by app-tools-zxw, checked with crcmod."""

import asyncio
import importlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import crcmod.predefined
import pytest

from simulator.devices import PtyEndpoint, TcpEndpoint, VirtualBxScreen

Until = Callable[[VirtualBxScreen, Callable[[], bool]], Awaitable[None]]

_crc16_arc = crcmod.predefined.mkCrcFun("crc-16")


def oracle_frame(text: str, *, colour: int = 0, effect: int = 1) -> bytes:
    """The frame that app-tools-zxw's BX-6K1 network module makes; colour 0 red, 1 green."""
    module = importlib.import_module(
        "app_tools_zxw.SDK_硬件读写.LED显示屏.仰邦BX6K1_网口_使用公共封装函数"
    )
    frame = bytes(module.LED通讯._修改文字_生成命令(text, color=colour, 显示方式=effect))
    body = unescaped(frame.strip(b"\xa5")[:-1])
    # It writes a checksum of 0 where the right one has a leading zero digit.
    assert _crc16_arc(body[:-2]) == int.from_bytes(body[-2:], "little"), "choose another text"
    return frame


def unescaped(body: bytes) -> bytes:
    for escaped, plain in ((b"\xa6\x02", b"\xa5"), (b"\x5b\x02", b"\x5a"), (b"\x5b\x01", b"\x5b")):
        body = body.replace(escaped, plain)
    return body.replace(b"\xa6\x01", b"\xa6")


@pytest.fixture
async def screen() -> AsyncIterator[VirtualBxScreen]:
    device = VirtualBxScreen(TcpEndpoint())
    await device.start()
    yield device
    await device.stop()


@pytest.fixture
async def line(
    screen: VirtualBxScreen,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    assert isinstance(screen.endpoint, TcpEndpoint)
    reader, writer = await asyncio.open_connection("127.0.0.1", screen.endpoint.port)
    yield reader, writer
    writer.close()


Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def read_reply(reader: asyncio.StreamReader) -> bytes:
    """The data of one reply frame, its checksum checked."""
    async with asyncio.timeout(10):
        raw = await reader.readuntil(b"\x5a")
    body = unescaped(raw.strip(b"\xa5")[:-1])
    assert _crc16_arc(body[:-2]) == int.from_bytes(body[-2:], "little")
    assert int.from_bytes(body[0:2], "little") == 0x8001  # back to the frame's source
    return body[14:-2]


@pytest.mark.parametrize(
    ("text", "colour", "name"),
    [
        ("A012 请到 3 号窗口", 0, "red"),
        ("B107 请到 12 号窗口", 1, "green"),
        ("暂停服务", 2, "yellow"),
    ],
)
async def test_a_frame_of_another_library_is_shown_and_answered(
    screen: VirtualBxScreen, line: Line, text: str, colour: int, name: str
) -> None:
    reader, writer = line
    writer.write(oracle_frame(text, colour=colour, effect=3))
    assert await read_reply(reader) == bytes((0xA3, 0x06, 0, 0, 0))
    assert (screen.text, screen.colour) == (text, name)
    assert screen.areas[4].effect == "left"
    assert (screen.areas[4].width, screen.areas[4].height) == (512, 32)
    assert [update.text for update in screen.history] == [text]


async def test_a_frame_with_a_wrong_checksum_changes_nothing_and_is_counted(
    screen: VirtualBxScreen, line: Line, until: Until
) -> None:
    reader, writer = line
    broken = bytearray(oracle_frame("A012 请到 3 号窗口"))
    broken[-10] ^= 0x01
    writer.write(bytes(broken) + b"garbage" + oracle_frame("B107 请到 12 号窗口"))
    await read_reply(reader)
    assert screen.counters["frames_checksum"] == 1
    assert screen.counters["bytes_garbage"] == 7
    assert [update.text for update in screen.history] == ["B107 请到 12 号窗口"]


async def test_a_refusing_card_answers_with_its_error_and_shows_nothing(
    screen: VirtualBxScreen, line: Line
) -> None:
    reader, writer = line
    screen.error_reply = 7
    writer.write(oracle_frame("A012 请到 3 号窗口"))
    assert await read_reply(reader) == bytes((0xA3, 0x06, 7, 0, 0))
    assert screen.text == ""


async def test_a_silent_card_shows_but_does_not_answer(
    screen: VirtualBxScreen, line: Line, until: Until
) -> None:
    reader, writer = line
    screen.silent = True
    writer.write(oracle_frame("A012 请到 3 号窗口"))
    await until(screen, lambda: screen.text != "")
    screen.silent = False
    writer.write(oracle_frame("暂停服务", colour=2))
    await read_reply(reader)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await reader.readexactly(1)


async def test_two_cards_on_one_line_obey_only_their_own_address(until: Until) -> None:
    line = TcpEndpoint()
    first, second = VirtualBxScreen(line, address=1), VirtualBxScreen(line, address=2)
    await first.start()
    await second.start()
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", line.port)
        writer.write(oracle_frame("A012 请到 3 号窗口"))
        await until(second, lambda: second.counters["frames_not_mine"] == 1)
        assert (first.text, second.text) == ("A012 请到 3 号窗口", "")
        writer.close()
    finally:
        await second.stop()
        await first.stop()


async def test_without_power_it_is_dark_and_deaf(
    screen: VirtualBxScreen, line: Line, until: Until
) -> None:
    _, writer = line
    writer.write(oracle_frame("A012 请到 3 号窗口"))
    await until(screen, lambda: screen.text != "")
    screen.power_off()
    assert screen.text == ""
    screen.power_on()
    assert screen.text == ""
    writer.write(oracle_frame("暂停服务", colour=2))
    await until(screen, lambda: screen.text == "暂停服务")


async def test_a_slow_serial_line_that_splits_every_byte_loses_no_frame(
    tmp_path: Path, until: Until
) -> None:
    screen = VirtualBxScreen(PtyEndpoint(tmp_path / "screen"))
    await screen.start()
    screen.endpoint.set_faults(one_byte_at_a_time=True, baud=57600)
    try:
        port = os.open(screen.endpoint.url, os.O_RDWR | os.O_NOCTTY)
        try:
            os.write(port, oracle_frame("A012 请到 3 号窗口"))
            await until(screen, lambda: screen.text == "A012 请到 3 号窗口")
        finally:
            os.close(port)
    finally:
        await screen.stop()

"""The screen's own parser under hostile bytes, without a wire."""

import asyncio
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from simulator.devices import VirtualBxScreen
from simulator.devices.bx_screen import crc16_arc
from tests.support.no_wire import NoWire

TEXT = "A012 请到 3 号窗口"


def frame(text: str, *, areas_promised: int = 1) -> bytes:
    shown = b"\\C1" + text.encode("gb2312")
    area = bytes.fromhex("00 0000 0000 4000 2000 04 00 00 0000 00 00 00 01 01 01 00 0a 05")
    area += len(shown).to_bytes(4, "little") + shown
    data = bytes((0xA3, 0x06, 0x01, 0, 0, 0, areas_promised))
    data += len(area).to_bytes(2, "little") + area
    body = bytes.fromhex("0100 0080 000000 00 00 00 61 02") + len(data).to_bytes(2, "little") + data
    body += crc16_arc(body).to_bytes(2, "little")
    escapes = {0xA5: b"\xa6\x02", 0xA6: b"\xa6\x01", 0x5A: b"\x5b\x02", 0x5B: b"\x5b\x01"}
    escaped = b"".join(escapes.get(byte, bytes((byte,))) for byte in body)
    return b"\xa5" * 8 + escaped + b"\x5a"


def shown_after(*pieces: bytes) -> list[str]:
    """Every text that a screen showed while it received these."""

    async def receive() -> list[str]:
        endpoint = NoWire()
        screen = VirtualBxScreen(endpoint)
        await screen.start()
        for piece in pieces:
            endpoint.arrive(piece)
        await screen.stop()
        return [update.text for update in screen.history]

    return asyncio.run(receive())


def test_the_checksum_is_the_published_crc16_arc() -> None:
    assert crc16_arc(b"123456789") == 0xBB3D


def test_one_good_frame_is_shown_once() -> None:
    assert shown_after(frame(TEXT)) == [TEXT]


@given(garbage=st.binary(max_size=300))
def test_a_frame_after_garbage_is_shown(garbage: bytes) -> None:
    assert shown_after(garbage, frame(TEXT))[-1:] == [TEXT]


@given(cuts=st.sets(st.integers(min_value=1, max_value=len(frame(TEXT)) - 1)))
def test_a_frame_in_pieces_is_shown_once(cuts: set[int]) -> None:
    whole = frame(TEXT)
    edges = [0, *sorted(cuts), len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(edges)]
    assert shown_after(*pieces) == [TEXT]


@given(
    at=st.integers(min_value=8, max_value=len(frame(TEXT)) - 2),
    bit=st.integers(min_value=0, max_value=7),
)
def test_no_single_turned_bit_shows_a_wrong_text(at: int, bit: int) -> None:
    broken = bytearray(frame(TEXT))
    broken[at] ^= 1 << bit
    assert shown_after(bytes(broken)) in ([], [TEXT])


def test_a_frame_that_never_ends_is_given_up() -> None:
    assert shown_after(b"\xa5" + b"x" * 100_000, frame(TEXT)) == [TEXT]


def test_a_command_that_promises_more_areas_than_it_brings_changes_nothing() -> None:
    assert shown_after(frame(TEXT), frame("B", areas_promised=2)) == [TEXT]

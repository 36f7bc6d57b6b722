"""The printer's own interpreter under hostile bytes, without a wire."""

import asyncio
from collections.abc import Iterable
from itertools import pairwise

from escpos.printer import Dummy
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from simulator.devices import Paper, VirtualPrinter
from simulator.devices.printer import RECEIVE_BUFFER_BYTES
from tests.support.no_wire import NoWire


def _ticket() -> bytes:
    dummy = Dummy()
    dummy.text("A012\n")
    dummy.image(Image.new("1", (64, 16), 0), impl="bitImageRaster")
    dummy.qr("https://hall.example/t/1", native=True)
    dummy.cut()
    return bytes(dummy.output)


TICKET = _ticket()


def printed_from(pieces: Iterable[bytes]) -> tuple[list[Paper], bytes]:
    """The papers and the answers of a printer without inertia."""

    async def run() -> tuple[list[Paper], bytes]:
        wire = NoWire()
        printer = VirtualPrinter(wire, mm_per_second=1e9)
        await printer.start()
        for piece in pieces:
            wire.arrive(piece)
            while printer.snapshot()["printing"]:
                await asyncio.sleep(0)
        await printer.stop()
        return list(printer.papers), bytes(wire.sent)

    return asyncio.run(run())


@given(cuts=st.sets(st.integers(min_value=1, max_value=len(TICKET) - 1), max_size=30))
def test_a_ticket_in_pieces_is_the_same_ticket(cuts: set[int]) -> None:
    edges = [0, *sorted(cuts), len(TICKET)]
    (paper,), _ = printed_from(TICKET[a:b] for a, b in pairwise(edges))
    (whole,), _ = printed_from([TICKET])
    assert paper.items == whole.items
    assert paper.text.strip() == "A012"
    assert paper.qr_codes == ("https://hall.example/t/1",)


@given(garbage=st.lists(st.binary(max_size=200), max_size=5))
def test_no_bytes_stop_it_from_telling_its_status(garbage: list[bytes]) -> None:
    _, sent = printed_from([*garbage, b"\x10\x04\x01"])
    assert sent.endswith(b"\x12")


@given(garbage=st.binary(max_size=200))
def test_after_garbage_and_a_clear_the_next_ticket_is_whole(garbage: bytes) -> None:
    clear = bytes((0x10, 0x14, 8, 1, 3, 20, 1, 6, 2, 8))
    papers, sent = printed_from([garbage, clear, b"\x1b@" + TICKET])
    assert b"\x37\x25\x00" in sent
    assert papers[-1].complete
    assert papers[-1].text.strip() == "A012"


def test_a_picture_larger_than_the_memory_is_skipped_as_a_whole() -> None:
    rows = 2 * RECEIVE_BUFFER_BYTES // 72
    picture = b"\x1dv0\x00" + bytes((72, 0)) + rows.to_bytes(2, "little") + bytes(72 * rows)
    (paper,), _ = printed_from([picture[:5000], picture[5000:], TICKET])
    assert paper.text.strip() == "A012"


def test_a_line_longer_than_the_paper_goes_on_below() -> None:
    (paper,), _ = printed_from([b"x" * 60 + b"\n\x1dV\x00"])
    assert paper.text == "x" * 48 + "\n" + "x" * 12


def test_chinese_characters_are_two_columns_wide() -> None:
    text = "号" * 25
    (paper,), _ = printed_from([b"\x1c&" + text.encode("gb18030") + b"\n\x1dV\x00"])
    assert paper.text == "号" * 24 + "\n" + "号"

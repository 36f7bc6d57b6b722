"""The virtual printer against python-escpos, which knows nothing of it."""

import asyncio
import io
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from escpos.printer import Dummy, Network
from PIL import Image

from simulator.devices import PtyEndpoint, TcpEndpoint, TextLine, VirtualPrinter

Until = Callable[[VirtualPrinter, Callable[[], bool]], Awaitable[None]]

PAPER_STATUS = b"\x1dr\x01"
CLEAR = bytes((0x10, 0x14, 8, 1, 3, 20, 1, 6, 2, 8))


@pytest.fixture
async def printer() -> AsyncIterator[VirtualPrinter]:
    device = VirtualPrinter(TcpEndpoint(), mm_per_second=2000)
    await device.start()
    yield device
    await device.stop()


class Host:
    """A socket to the printer, as a driver would have."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, request: bytes, answer_bytes: int) -> bytes:
        self.writer.write(request)
        async with asyncio.timeout(10):
            return await self.reader.readexactly(answer_bytes)


@pytest.fixture
async def host(printer: VirtualPrinter) -> AsyncIterator[Host]:
    assert isinstance(printer.endpoint, TcpEndpoint)
    reader, writer = await asyncio.open_connection("127.0.0.1", printer.endpoint.port)
    yield Host(reader, writer)
    writer.close()


def ticket(number: str = "A012") -> bytes:
    """A small ticket by python-escpos."""
    dummy = Dummy()
    dummy.set(align="center", bold=True, double_height=True, double_width=True)
    dummy.text(f"{number}\n")
    dummy.set(align="left", bold=False, normal_textsize=True)
    dummy.text("Payment\n")
    dummy.qr(f"https://hall.example/t/{number}", native=True, size=4)
    dummy.cut()
    return bytes(dummy.output)


async def test_python_escpos_prints_text_qr_and_a_picture_over_tcp(
    printer: VirtualPrinter, until: Until
) -> None:
    assert isinstance(printer.endpoint, TcpEndpoint)
    picture = Image.new("1", (384, 64), 1)
    picture.paste(0, (8, 0, 16, 64))

    def print_it(port: int) -> None:
        network = Network("127.0.0.1", port, timeout=10)
        network.open()
        network.set(align="center", bold=True, double_height=True, double_width=True)
        network.text("A012\n")
        network.set(align="left", bold=False, normal_textsize=True)
        network.text("Payment\n")
        network.image(picture, impl="bitImageRaster")
        network.qr("https://hall.example/t/1", native=True, size=4)
        network.cut()
        network.close()

    await asyncio.to_thread(print_it, printer.endpoint.port)
    await until(printer, lambda: len(printer.papers) == 1)

    paper = printer.papers[0]
    assert paper.complete
    assert not paper.interrupted
    lines = [item for item in paper.items if isinstance(item, TextLine) and item.text]
    assert lines[0] == TextLine("A012", 2, 2, True, "center")
    assert lines[1] == TextLine("Payment", 1, 1, False, "left")
    assert paper.qr_codes == ("https://hall.example/t/1",)
    seen = Image.open(io.BytesIO(paper.rasters[0].png))
    assert seen.size == picture.size
    assert seen.tobytes() == picture.tobytes()


@pytest.mark.parametrize("implementation", ["bitImageRaster", "bitImageColumn", "graphics"])
async def test_every_picture_command_of_python_escpos_leaves_the_text_after_it_intact(
    printer: VirtualPrinter, host: Host, until: Until, implementation: str
) -> None:
    dummy = Dummy()
    dummy.image(Image.new("1", (64, 48), 0), impl=implementation)
    dummy.text("after\n")
    dummy.barcode("4006381333931", "EAN13")
    dummy.text("the end\n")
    dummy.cut()
    host.writer.write(bytes(dummy.output))
    await until(printer, lambda: len(printer.papers) == 1)
    assert [line for line in printer.papers[0].text.splitlines() if line] == ["after", "the end"]


async def test_it_answers_the_status_requests_as_a_healthy_printer(host: Host) -> None:
    assert await host.ask(b"\x10\x04\x01\x10\x04\x02\x10\x04\x03\x10\x04\x04", 4) == b"\x12" * 4


async def test_a_status_request_is_answered_in_the_middle_of_a_picture(host: Host) -> None:
    host.writer.write(b"\x1dv0\x00\x02\x00\x40\x00" + bytes(10))
    assert await host.ask(b"\x10\x04", 0) == b""
    assert await host.ask(b"\x04", 1) == b"\x12"


async def test_paper_status_is_answered_when_the_ticket_is_out(
    printer: VirtualPrinter, host: Host
) -> None:
    assert await host.ask(ticket() + PAPER_STATUS, 1) == b"\x00"
    assert [paper.complete for paper in printer.papers] == [True]


async def test_without_paper_it_stays_silent_but_tells_its_state_and_prints_after_the_refill(
    printer: VirtualPrinter, host: Host
) -> None:
    printer.run_out_of_paper()
    host.writer.write(ticket() + PAPER_STATUS)
    answer = await host.ask(b"\x10\x04\x01\x10\x04\x02\x10\x04\x03\x10\x04\x04", 4)
    assert answer == bytes.fromhex("1a 32 12 7e")
    assert not printer.papers
    printer.refill_paper()
    assert await host.ask(b"", 1) == b"\x00"
    assert len(printer.papers) == 1


async def test_a_ticket_that_ran_out_in_the_middle_is_finished_once_after_the_refill(
    printer: VirtualPrinter, host: Host, until: Until
) -> None:
    printer.mm_per_second = 50
    host.writer.write(ticket() + PAPER_STATUS)
    await until(printer, lambda: printer.snapshot()["strip_items"] > 0)
    printer.run_out_of_paper()
    assert await host.ask(b"\x10\x04\x04", 1) == b"\x7e"
    assert not printer.papers
    printer.refill_paper()
    assert await host.ask(b"", 1) == b"\x00"
    (paper,) = printer.papers
    assert paper.complete
    assert paper.interrupted
    assert "A012" in paper.text
    assert paper.qr_codes == ("https://hall.example/t/A012",)


async def test_automatic_status_tells_every_change_of_paper_and_cover(
    printer: VirtualPrinter, host: Host
) -> None:
    assert await host.ask(b"\x1da\x0f", 4) == bytes.fromhex("10 00 00 00")
    printer.set_paper_low()
    assert await host.ask(b"", 4) == bytes.fromhex("10 00 03 00")
    printer.run_out_of_paper()
    assert await host.ask(b"", 4) == bytes.fromhex("18 00 0f 00")
    printer.refill_paper()
    assert await host.ask(b"", 4) == bytes.fromhex("10 00 00 00")
    printer.open_cover()
    assert await host.ask(b"", 4) == bytes.fromhex("38 00 00 00")
    assert await host.ask(b"\x10\x04\x02", 1) == b"\x16"


async def test_a_cleared_buffer_never_prints_and_the_next_ticket_does(
    printer: VirtualPrinter, host: Host
) -> None:
    printer.run_out_of_paper()
    host.writer.write(ticket("A001"))
    assert await host.ask(CLEAR, 3) == b"\x37\x25\x00"
    printer.refill_paper()
    assert await host.ask(ticket("A002") + PAPER_STATUS, 1) == b"\x00"
    assert [paper.text.split()[0] for paper in printer.papers] == ["A002"]


async def test_a_clear_in_the_same_write_spares_what_follows_it(
    printer: VirtualPrinter, host: Host
) -> None:
    printer.run_out_of_paper()
    request = ticket("A001") + CLEAR + ticket("A002") + PAPER_STATUS
    assert await host.ask(request, 3) == b"\x37\x25\x00"
    printer.refill_paper()
    assert await host.ask(b"", 1) == b"\x00"
    assert [paper.text.split()[0] for paper in printer.papers] == ["A002"]


async def test_power_cut_in_a_ticket_leaves_half_a_ticket_and_an_empty_memory(
    printer: VirtualPrinter, host: Host, until: Until
) -> None:
    printer.mm_per_second = 20
    host.writer.write(ticket("A001"))
    await until(printer, lambda: printer.snapshot()["strip_items"] > 0)
    printer.power_off()
    assert [paper.complete for paper in printer.papers] == [False]
    printer.power_on()
    printer.mm_per_second = 2000
    assert await host.ask(ticket("A002") + PAPER_STATUS, 1) == b"\x00"
    assert [paper.complete for paper in printer.papers] == [False, True]
    assert "A001" not in printer.papers[1].text


async def test_a_printer_that_is_off_says_nothing(printer: VirtualPrinter, host: Host) -> None:
    printer.power_off()
    host.writer.write(b"\x10\x04\x01")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await host.reader.readexactly(1)
    printer.power_on()
    assert await host.ask(b"\x10\x04\x01", 1) == b"\x12"


async def test_a_network_printer_takes_its_link_down_with_its_power() -> None:
    endpoint = TcpEndpoint()
    printer = VirtualPrinter(endpoint, link_follows_power=True)
    await printer.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
        await asyncio.sleep(0)
        printer.power_off()
        async with asyncio.timeout(10):
            assert await _read_or_reset(reader) == b""
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", endpoint.port), 5)
        printer.power_on()
        socket.create_connection(("127.0.0.1", endpoint.port), 5).close()
    finally:
        await printer.stop()


async def _read_or_reset(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(1)
    except ConnectionResetError:
        return b""


async def test_chinese_text_is_read_as_gb18030(printer: VirtualPrinter, host: Host) -> None:
    text = "缴费业务 A012 㐂𠀋"
    job = b"\x1c&" + text.encode("gb18030") + b"\n\x1c.\x1dV\x00" + PAPER_STATUS
    assert await host.ask(job, 1) == b"\x00"
    assert printer.papers[0].text == text


async def test_a_flood_beyond_the_buffer_is_counted_and_status_still_works(
    printer: VirtualPrinter, host: Host
) -> None:
    printer.run_out_of_paper()
    host.writer.write(b"x" * 200_000)
    assert await host.ask(b"\x10\x04\x04", 1) == b"\x7e"
    assert printer.counters["buffer_overflow_bytes"] == 200_003 - 65536
    assert await host.ask(CLEAR, 3) == b"\x37\x25\x00"
    printer.refill_paper()
    assert await host.ask(ticket() + PAPER_STATUS, 1) == b"\x00"


async def test_a_serial_printer_survives_a_pulled_cable(tmp_path: Path, until: Until) -> None:
    printer = VirtualPrinter(PtyEndpoint(tmp_path / "printer"), mm_per_second=2000)
    await printer.start()
    try:
        fd = os.open(printer.endpoint.url, os.O_RDWR | os.O_NOCTTY)
        try:
            os.write(fd, ticket("A001"))
            await until(printer, lambda: len(printer.papers) == 1)
            printer.unplug()
            assert not (tmp_path / "printer").exists()
            assert _read_until_hangup(fd) == b""
        finally:
            os.close(fd)
        printer.plug()
        fd = os.open(printer.endpoint.url, os.O_RDWR | os.O_NOCTTY)
        try:
            os.write(fd, ticket("A002"))
            await until(printer, lambda: len(printer.papers) == 2)
        finally:
            os.close(fd)
    finally:
        await printer.stop()


def _read_until_hangup(fd: int) -> bytes:
    try:
        return os.read(fd, 100)
    except OSError:
        return b""

"""Ptys and ports that break: faults, floods, replugging, nothing left open."""

import asyncio
import os
import selectors
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import serial

from simulator.devices import Endpoint, PtyEndpoint, TcpEndpoint


class Received:
    """What a device got, to be waited for."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.data = b""
        self._more = asyncio.Event()
        endpoint.attach(self._take)

    def _take(self, data: bytes) -> None:
        self.data += data
        self._more.set()

    async def reach(self, length: int) -> bytes:
        async with asyncio.timeout(20):
            while len(self.data) < length:
                self._more.clear()
                await self._more.wait()
        return self.data


@pytest.fixture
async def pty(tmp_path: Path) -> AsyncIterator[PtyEndpoint]:
    endpoint = PtyEndpoint(tmp_path / "port")
    await endpoint.start()
    yield endpoint
    await endpoint.stop()


@pytest.fixture
async def tcp() -> AsyncIterator[TcpEndpoint]:
    endpoint = TcpEndpoint()
    await endpoint.start()
    yield endpoint
    await endpoint.stop()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_pyserial_opens_it_exclusively_again_and_again(pty: PtyEndpoint) -> None:
    received = Received(pty)
    for n in range(1, 4):
        with serial.Serial(pty.url, 9600, exclusive=True, timeout=10) as port:
            port.write(b"every byte \x00\x03\x04\x11\x13\x7f\xff")
            await received.reach(18 * n)
            pty.send(b"\x11\x13\r\n\x04")
            assert await asyncio.to_thread(port.read, 5) == b"\x11\x13\r\n\x04"
    assert received.data == b"every byte \x00\x03\x04\x11\x13\x7f\xff" * 3


async def test_a_replugged_pty_has_the_same_path(pty: PtyEndpoint) -> None:
    received = Received(pty)
    pty.unplug()
    with pytest.raises(FileNotFoundError):
        os.open(pty.url, os.O_RDWR | os.O_NOCTTY)
    pty.plug()
    fd = os.open(pty.url, os.O_RDWR | os.O_NOCTTY)
    try:
        os.write(fd, b"back")
        assert await received.reach(4) == b"back"
    finally:
        os.close(fd)


class Looks(selectors.DefaultSelector):
    """Counts how often the event loop asks what there is to do."""

    count = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.count += 1
        return super().select(timeout)


def test_a_flood_that_nobody_reads_is_bounded_and_waits_without_spinning(tmp_path: Path) -> None:
    looks = Looks()

    async def flood() -> None:
        pty = PtyEndpoint(tmp_path / "port")
        await pty.start()
        try:
            pty.send(b"x" * 1_000_000)
            before = looks.count
            await asyncio.sleep(0.5)
            assert looks.count - before < 20
        finally:
            await pty.stop()

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(looks)) as runner:
        runner.run(flood())


async def test_the_newest_client_has_the_line(tcp: TcpEndpoint) -> None:
    received = Received(tcp)
    old_reader, old_writer = await asyncio.open_connection("127.0.0.1", tcp.port)
    old_writer.write(b"old")
    await received.reach(3)
    _, new_writer = await asyncio.open_connection("127.0.0.1", tcp.port)
    new_writer.write(b"new")
    assert await received.reach(6) == b"oldnew"
    async with asyncio.timeout(10):
        assert await old_reader.read() == b""
    old_writer.close()
    new_writer.close()


async def test_an_unplugged_port_refuses_and_comes_back_as_the_same(tcp: TcpEndpoint) -> None:
    url = tcp.url
    reader, writer = await asyncio.open_connection("127.0.0.1", tcp.port)
    writer.write(b"x")
    await Received(tcp).reach(1)
    tcp.unplug()
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", tcp.port)
    tcp.plug()
    assert tcp.url == url
    _, writer = await asyncio.open_connection("127.0.0.1", tcp.port)
    writer.close()


async def test_a_taken_port_is_said_at_the_start(tcp: TcpEndpoint) -> None:
    with pytest.raises(OSError, match="in use"):
        await TcpEndpoint(port=tcp.port).start()


async def test_a_paced_line_takes_ten_bits_a_byte(tcp: TcpEndpoint) -> None:
    tcp.set_faults(baud=9600)
    received = Received(tcp)
    _, writer = await asyncio.open_connection("127.0.0.1", tcp.port)
    before = asyncio.get_running_loop().time()
    writer.write(bytes(96))
    await received.reach(96)
    assert asyncio.get_running_loop().time() - before >= 0.099
    writer.close()


async def test_a_lossy_line_loses_some_and_keeps_the_order(tcp: TcpEndpoint) -> None:
    tcp.set_faults(lose=0.5)
    received = Received(tcp)
    _, writer = await asyncio.open_connection("127.0.0.1", tcp.port)
    writer.write(bytes(range(200)))
    await received.reach(50)
    tcp.set_faults(lose=0.0)
    writer.write(b"\xff")
    async with asyncio.timeout(10):
        while received.data[-1] != 0xFF:
            await received.reach(len(received.data) + 1)
    assert len(received.data) < 200
    assert list(received.data) == sorted(received.data)
    writer.close()


async def test_a_corrupting_line_turns_single_bits(tcp: TcpEndpoint) -> None:
    tcp.set_faults(corrupt=1.0)
    received = Received(tcp)
    _, writer = await asyncio.open_connection("127.0.0.1", tcp.port)
    writer.write(bytes(100))
    assert all(byte.bit_count() == 1 for byte in await received.reach(100))
    writer.close()


async def test_a_stuttering_line_doubles_bytes(tcp: TcpEndpoint) -> None:
    tcp.set_faults(duplicate=1.0)
    received = Received(tcp)
    _, writer = await asyncio.open_connection("127.0.0.1", tcp.port)
    writer.write(b"abc")
    assert await received.reach(6) == b"aabbcc"
    writer.close()


async def test_noise_arrives_on_both_sides_and_ends_when_it_is_switched_off(
    tcp: TcpEndpoint,
) -> None:
    received = Received(tcp)
    reader, writer = await asyncio.open_connection("127.0.0.1", tcp.port)
    tcp.set_faults(noise_per_second=200)
    await received.reach(5)
    async with asyncio.timeout(10):
        await reader.readexactly(5)
    tcp.set_faults(noise_per_second=0)
    amount = len(received.data)
    await asyncio.sleep(0.1)
    assert len(received.data) == amount
    writer.close()


async def test_nothing_stays_open_after_a_hundred_replugs(tmp_path: Path) -> None:
    before = open_files()
    endpoints: list[Endpoint] = [PtyEndpoint(tmp_path / "port"), TcpEndpoint()]
    for endpoint in endpoints:
        await endpoint.start()
    plugged = open_files()
    for _ in range(100):
        for endpoint in endpoints:
            endpoint.unplug()
            endpoint.plug()
    assert open_files() == plugged
    for endpoint in endpoints:
        await endpoint.stop()
    assert open_files() == before
    assert os.listdir(tmp_path) == []

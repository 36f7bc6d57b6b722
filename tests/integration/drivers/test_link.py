"""The byte transport on real ptys and real TCP sockets."""

import asyncio
import os
import socket
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from edge.drivers.link import MAX_QUEUED_BYTES, Link, LinkFull, LinkLost, Port, open_link
from tests.integration.drivers.far_end import TIMEOUT, Plug


@pytest.fixture
async def plug(tmp_path: Path) -> AsyncIterator[Plug]:
    plug = Plug(tmp_path)
    yield plug
    plug.pull()


async def read_link(link: Link, size: int) -> bytes:
    data = b""
    async with asyncio.timeout(TIMEOUT):
        while len(data) < size:
            data += await link.read()
    return data


async def test_every_byte_value_passes_a_serial_port_unchanged_both_ways(plug: Plug) -> None:
    link = await open_link(plug.path, baud=57600)
    try:
        link.write(bytes(range(256)))
        assert await plug.receive(256) == bytes(range(256))
        plug.send(bytes(range(256)))
        assert await read_link(link, 256) == bytes(range(256))
    finally:
        link.close()


async def test_silence_on_a_serial_port_is_not_taken_for_a_hang_up(plug: Plug) -> None:
    link = await open_link(plug.path)
    try:
        reading = asyncio.create_task(link.read())
        plug.send(b"a")
        assert await asyncio.wait_for(reading, TIMEOUT) == b"a"
        reading = asyncio.create_task(link.read())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not reading.done()
        plug.send(b"b")
        assert await asyncio.wait_for(reading, TIMEOUT) == b"b"
    finally:
        link.close()


async def test_an_unplugged_port_wakes_the_reader_with_link_lost(plug: Plug) -> None:
    link = await open_link(plug.path)
    try:
        reading = asyncio.create_task(link.read())
        await asyncio.sleep(0)
        plug.pull()
        with pytest.raises(LinkLost):
            await asyncio.wait_for(reading, TIMEOUT)
        with pytest.raises(LinkLost):
            link.write(b"x")
        with pytest.raises(LinkLost):
            await link.drain()
    finally:
        link.close()


async def test_a_slow_reader_gets_all_of_it_and_drain_tells_when(plug: Plug) -> None:
    link = await open_link(plug.path)
    payload = bytes(index % 251 for index in range(60_000))
    try:
        link.write(payload)
        draining = asyncio.create_task(link.drain())
        await asyncio.sleep(0)
        assert not draining.done(), "a pty takes a few kB, not 60"
        assert await plug.receive(len(payload)) == payload
        await asyncio.wait_for(draining, TIMEOUT)
    finally:
        link.close()


async def test_a_far_end_that_takes_nothing_fills_the_queue_and_no_memory(plug: Plug) -> None:
    link = await open_link(plug.path)
    try:
        link.write(b"x" * MAX_QUEUED_BYTES)
        with pytest.raises(LinkFull):
            link.write(b"x" * 65_536)  # more than the kernel took of the first
    finally:
        link.close()


async def test_closing_wakes_who_waits_and_twice_is_no_error(plug: Plug) -> None:
    link = await open_link(plug.path)
    reading = asyncio.create_task(link.read())
    link.write(b"x" * 100_000)
    draining = asyncio.create_task(link.drain())
    await asyncio.sleep(0)
    link.close()
    link.close()
    for waiting in (reading, draining):
        with pytest.raises(LinkLost):
            await asyncio.wait_for(waiting, TIMEOUT)


async def test_a_port_is_held_by_one_and_free_after_its_close(plug: Plug) -> None:
    first = await open_link(plug.path)
    try:
        with pytest.raises(OSError, match="exclusively"):
            await open_link(plug.path)
    finally:
        first.close()
    (await open_link(plug.path)).close()


async def test_opening_and_closing_leaks_no_descriptor(plug: Plug) -> None:
    (await open_link(plug.path)).close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        (await open_link(plug.path)).close()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_cancelled_opening_leaves_the_port_free(plug: Plug) -> None:
    opening = asyncio.create_task(open_link(plug.path))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with asyncio.timeout(TIMEOUT):
        while True:
            try:
                link = await open_link(plug.path)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                break
    link.close()


async def test_a_read_with_an_end_gives_nothing_when_nothing_comes_and_then_the_next_bytes(
    plug: Plug,
) -> None:
    loop = asyncio.get_running_loop()
    link = await open_link(plug.path)
    try:
        assert await link.read(loop.time() + 0.01) == b""
        plug.send(b"a")
        assert await link.read(loop.time() + TIMEOUT) == b"a"
        assert await link.read(loop.time() - 1.0) == b""
    finally:
        link.close()


async def test_what_nobody_reads_waits_outside_and_is_read_in_order(plug: Plug) -> None:
    link = await open_link(plug.path)
    payload = bytes(index % 251 for index in range(3000))
    try:
        plug.send(payload)
        for _ in range(20):
            await asyncio.sleep(0)
        first = await link.read()
        assert 0 < len(first) < len(payload), "bounded, however long nobody looked"
        assert first + await read_link(link, len(payload) - len(first)) == payload
    finally:
        link.close()


async def test_what_came_before_the_hang_up_is_read_before_it_is_noticed() -> None:
    far: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    server = await asyncio.start_server(lambda _, writer: far.put_nowait(writer), "127.0.0.1", 0)
    link = await open_link(f"socket://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        writer = await asyncio.wait_for(far.get(), TIMEOUT)
        writer.write(b"last words")
        writer.close()
        await writer.wait_closed()
        assert await read_link(link, 10) == b"last words"
        with pytest.raises(LinkLost):
            await asyncio.wait_for(link.read(), TIMEOUT)
    finally:
        link.close()
        server.close()


async def test_a_break_on_a_serial_line_is_no_byte(plug: Plug) -> None:
    """A pty has no breaks; what the kernel does with one is asked of the port's settings."""
    link = await open_link(plug.path)
    try:
        settings = termios.tcgetattr(plug.master)
        assert settings[0] & termios.IGNBRK
        assert not settings[0] & (termios.BRKINT | termios.PARMRK)
    finally:
        link.close()


async def test_nothing_to_read_on_a_serial_line_is_not_an_end_of_file(plug: Plug) -> None:
    """VMIN 0 would make one of the other, where a wake-up brings nothing."""
    link = await open_link(plug.path)
    try:
        characters = termios.tcgetattr(plug.master)[6]
        assert (characters[termios.VMIN], characters[termios.VTIME]) == (1, 0)
        slave = os.open(plug.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            with pytest.raises(BlockingIOError):
                os.read(slave, 1)
        finally:
            os.close(slave)
    finally:
        link.close()


async def test_a_cancelled_read_loses_no_bytes(plug: Plug) -> None:
    link = await open_link(plug.path)
    try:
        reading = asyncio.create_task(link.read())
        await asyncio.sleep(0)
        plug.send(b"kept")
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await read_link(link, 4) == b"kept"
    finally:
        link.close()


async def test_absent_and_unfit_paths_are_os_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await open_link("/dev/serial/by-id/absent")
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    with pytest.raises(OSError, match="no character device"):
        await open_link(str(plain))
    with pytest.raises(OSError, match="configure"):
        await open_link("/dev/null")


async def test_tcp_carries_bytes_both_ways_and_notices_the_end() -> None:
    peers: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    server = await asyncio.start_server(lambda r, w: peers.put_nowait((r, w)), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = await open_link(f"socket://127.0.0.1:{port}")
    try:
        reader, writer = await asyncio.wait_for(peers.get(), TIMEOUT)
        link.write(b"\x00\xff" * 50_000)
        assert await asyncio.wait_for(reader.readexactly(100_000), TIMEOUT) == b"\x00\xff" * 50_000
        writer.write(b"answer")
        assert await read_link(link, 6) == b"answer"
        writer.close()
        await writer.wait_closed()
        with pytest.raises(LinkLost):
            await asyncio.wait_for(link.read(), TIMEOUT)
    finally:
        link.close()
        server.close()
        await server.wait_closed()


async def test_a_refused_connection_is_an_os_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        with pytest.raises(ConnectionRefusedError):
            await open_link(f"socket://127.0.0.1:{taken.getsockname()[1]}")


class Wired(BaseModel):
    port: Port


@pytest.mark.parametrize(
    "port",
    [
        "",
        "ttyUSB0",
        "socket://",
        "socket://h",
        "socket://h:0",
        "socket://h:99999",
        "socket://h:x",
        "socket://h:1/x",
        "socket://[::1:9",
        "tcp://h:1",
    ],
)
def test_a_port_that_makes_no_sense_is_refused_with_an_example(port: str) -> None:
    with pytest.raises(ValidationError):
        Wired(port=port)


@pytest.mark.parametrize("port", ["/dev/usb/lp0", "socket://10.0.0.7:9100", "socket://[::1]:9100"])
def test_ports_that_make_sense_are_taken(port: str) -> None:
    assert Wired(port=port).port == port

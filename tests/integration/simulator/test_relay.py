"""The relay between a client and an echo server."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from simulator.devices import Relay, RelayMode


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    writers: list[asyncio.StreamWriter] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    link = Relay("127.0.0.1", server.sockets[0].getsockname()[1])
    await link.start()
    yield link
    await link.stop()
    server.close()
    for writer in writers:
        writer.close()


Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def link(relay: Relay) -> AsyncIterator[Link]:
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    yield reader, writer
    writer.close()


async def echoed(link: Link, data: bytes) -> bytes:
    reader, writer = link
    writer.write(data)
    async with asyncio.timeout(20):
        return await reader.readexactly(len(data))


async def ended(link: Link) -> bool:
    try:
        async with asyncio.timeout(20):
            return await link[0].read(1) == b""
    except ConnectionError:
        return True


async def test_all_bytes_go_through_in_order(relay: Relay, link: Link) -> None:
    data = bytes(range(256)) * 8192
    sender = asyncio.create_task(_send(link[1], data))
    async with asyncio.timeout(20):
        assert await link[0].readexactly(len(data)) == data
    await sender
    assert relay.counters["bytes_up"] == relay.counters["bytes_down"] == len(data)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def test_the_end_of_one_direction_arrives_at_the_other_side(link: Link) -> None:
    assert await echoed(link, b"hello") == b"hello"
    link[1].write_eof()
    assert await ended(link)


async def test_down_cuts_connections_and_refuses_new_ones_until_it_is_up(
    relay: Relay, link: Link
) -> None:
    port = relay.port
    assert await echoed(link, b"hello") == b"hello"
    relay.set_mode(RelayMode.DOWN)
    assert await ended(link)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    relay.set_mode(RelayMode.UP)
    again = await asyncio.open_connection("127.0.0.1", port)
    assert await echoed(again, b"again") == b"again"
    again[1].close()


async def test_a_black_hole_lets_nothing_through_and_heals_without_loss(
    relay: Relay, link: Link
) -> None:
    assert await echoed(link, b"hello") == b"hello"
    relay.set_mode(RelayMode.BLACK_HOLE)
    link[1].write(b"swallowed?")
    newcomer = await asyncio.open_connection("127.0.0.1", relay.port)
    newcomer[1].write(b"me too")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await asyncio.gather(link[0].readexactly(1), newcomer[0].readexactly(1))
    relay.set_mode(RelayMode.UP)
    async with asyncio.timeout(20):
        assert await link[0].readexactly(10) == b"swallowed?"
        assert await newcomer[0].readexactly(6) == b"me too"
    newcomer[1].close()


async def test_latency_delays_each_direction(relay: Relay, link: Link) -> None:
    loop = asyncio.get_running_loop()
    relay.latency_seconds = 0.1
    before = loop.time()
    assert await echoed(link, b"hello") == b"hello"
    assert loop.time() - before >= 0.2


async def test_a_broker_that_is_away_ends_the_connection() -> None:
    nobody = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port = nobody.sockets[0].getsockname()[1]
    nobody.close()
    await nobody.wait_closed()
    relay = Relay("127.0.0.1", port)
    await relay.start()
    try:
        link = await asyncio.open_connection("127.0.0.1", relay.port)
        assert await ended(link)
        link[1].close()
        assert relay.counters["connections_failed"] == 1
    finally:
        await relay.stop()

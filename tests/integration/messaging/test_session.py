"""The session against a real mosquitto."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Literal

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from messaging.session import (
    BROKER_PACKET_BYTES,
    MAX_PACKET_BYTES,
    ConnectRefused,
    Message,
    MqttConfig,
    PublishRefused,
    Session,
    SessionLost,
    Will,
    connect,
)
from tests.support.broker import Broker

both_protocols = pytest.mark.parametrize("protocol", [5, 311])


async def next_message(messages: AsyncIterator[Message]) -> Message:
    async with asyncio.timeout(10):
        return await anext(messages)


@both_protocols
async def test_what_a_hall_publishes_arrives_at_the_centre_in_order(
    broker: Broker, protocol: int
) -> None:
    async with (
        connect(broker.client("centre", protocol=protocol)) as centre,
        connect(broker.client("hall-a", protocol=protocol)) as hall,
    ):
        await centre.subscribe("halls/+/v1/events", "halls/+/v1/backlog")
        # More than the window in one go.
        payloads = [b"%d" % n for n in range(1500)]
        async with asyncio.TaskGroup() as group:
            for payload in payloads:
                group.create_task(hall.publish("halls/hall-a/v1/events", payload))
        messages = centre.messages()
        got = [(await next_message(messages)).payload for _ in payloads]
    assert got == payloads


@both_protocols
async def test_a_retained_message_is_marked_as_such(broker: Broker, protocol: int) -> None:
    async with connect(broker.client("hall-a", protocol=protocol)) as hall:
        await hall.publish("halls/hall-a/v1/state", b"here", retain=True)
    async with connect(broker.client("centre", protocol=protocol)) as centre:
        await centre.subscribe("halls/+/v1/state")
        got = await next_message(centre.messages())
    assert got == Message("halls/hall-a/v1/state", b"here", retain=True)


async def test_a_publish_against_the_acl_is_raised_and_the_session_lives_on(broker: Broker) -> None:
    async with connect(broker.client("hall-a")) as hall:
        with pytest.raises(PublishRefused, match="Not authorized") as refusal:
            await hall.publish("halls/hall-b/v1/events", b"forged")
        assert refusal.value.topic == "halls/hall-b/v1/events"
        await hall.publish("halls/hall-a/v1/events", b"true")


async def test_mqtt_311_can_not_tell_that_a_publish_was_refused(broker: Broker) -> None:
    async with (
        connect(broker.client("centre")) as centre,
        connect(broker.client("hall-a", protocol=311)) as hall,
    ):
        await centre.subscribe("halls/+/v1/events")
        await hall.publish("halls/hall-b/v1/events", b"forged")  # confirmed, and dropped
        await hall.publish("halls/hall-a/v1/events", b"true")
        assert (await next_message(centre.messages())).payload == b"true"


@both_protocols
async def test_a_message_beyond_the_brokers_limit_is_refused_before_it_ends_the_session(
    broker: Broker, protocol: int
) -> None:
    async with connect(broker.client("hall-a", protocol=protocol)) as hall:
        with pytest.raises(PublishRefused, match="larger than"):
            await hall.publish("halls/hall-a/v1/events", bytes(BROKER_PACKET_BYTES))
        await hall.publish("halls/hall-a/v1/events", bytes(BROKER_PACKET_BYTES - 100))


async def test_the_broker_is_told_how_large_a_packet_may_be() -> None:
    """By MQTT 5, section 3.1.2.11.4: property 0x27 of CONNECT, four bytes."""
    said = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said.set_result(await reader.read(4096))
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(SessionLost):
            async with connect(MqttConfig("127.0.0.1", port, "hall-a")):
                pass
        async with asyncio.timeout(20):
            assert b"\x27" + MAX_PACKET_BYTES.to_bytes(4, "big") in await said


@both_protocols
async def test_a_packet_that_the_broker_makes_longer_ends_no_session(
    broker: Broker, protocol: int
) -> None:
    """Published by a topic's alias it is as large as the broker takes, and longer on its way on."""
    topic = "halls/hall-a/v1/state"
    async with connect(broker.client("centre", protocol=protocol)) as centre:
        await centre.subscribe("halls/+/v1/state")
        await asyncio.to_thread(publish_by_alias, broker, topic, BROKER_PACKET_BYTES - 12)
        messages = centre.messages()
        assert (await next_message(messages)).payload == b"first"
        if protocol == 311:  # with MQTT 5 as well, as far as the broker cares to pass it on
            assert len((await next_message(messages)).payload) == BROKER_PACKET_BYTES - 12
        await centre.publish("halls/hall-a/v1/ack", b"and goes on")


def publish_by_alias(broker: Broker, topic: str, size: int) -> None:
    client = Client(
        CallbackAPIVersion.VERSION2, client_id="by-alias", protocol=MQTTProtocolVersion.MQTTv5
    )
    client.username_pw_set("hall-a", broker.users["hall-a"][0])
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        for name, payload in ((topic, b"first"), ("", bytes(size))):
            alias = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            alias.TopicAlias = 1
            client.publish(name, payload, qos=1, properties=alias).wait_for_publish(20)
    finally:
        client.disconnect()
        client.loop_stop()


@both_protocols
async def test_a_wrong_password_is_told_apart_from_a_broker_that_is_away(
    broker: Broker, protocol: int
) -> None:
    config = replace(broker.client("hall-a", protocol=protocol), password="guessed")
    with pytest.raises(ConnectRefused):
        async with connect(config):
            pass
    await broker.stop()
    with pytest.raises(SessionLost) as away:
        async with connect(config):
            pass
    assert not isinstance(away.value, ConnectRefused)


def test_the_password_is_in_no_repr() -> None:
    config = MqttConfig("127.0.0.1", 1883, "hall-a", "hall-a", "very-secret")
    assert "very-secret" not in repr(config)


@both_protocols
async def test_the_broker_killed_in_the_middle_of_publishing_is_told_to_all_who_wait(
    broker: Broker, protocol: int
) -> None:
    confirmed = 0
    half = asyncio.Event()

    async def publish(hall: Session, number: int) -> None:
        nonlocal confirmed
        await hall.publish("halls/hall-a/v1/events", b"%d" % number)
        confirmed += 1
        if confirmed == 500:
            half.set()

    with suppress(SessionLost):
        async with connect(broker.client("hall-a", protocol=protocol)) as hall:
            tasks = [asyncio.create_task(publish(hall, n)) for n in range(20_000)]
            await half.wait()
            await broker.kill9()
            async with asyncio.timeout(20):
                results = await asyncio.gather(*tasks, return_exceptions=True)
            lost = [each for each in results if isinstance(each, SessionLost)]
            assert len(lost) == len(tasks) - confirmed > 0
            assert all(each is None or isinstance(each, SessionLost) for each in results)
            with pytest.raises(SessionLost) as gone:
                await anext(hall.messages())
            assert "Unspecified" not in str(gone.value), "that tells nobody anything"
            with pytest.raises(SessionLost):
                await hall.publish("halls/hall-a/v1/events", b"after")

    await broker.start()
    async with connect(broker.client("hall-a", protocol=protocol)) as hall:
        await hall.publish("halls/hall-a/v1/events", b"a new life")


async def test_a_frozen_broker_is_given_up(broker: Broker) -> None:
    config = replace(broker.client("hall-a"), timeout_seconds=1.0)
    async with connect(config) as hall:
        broker.freeze()
        with pytest.raises(SessionLost, match="PUBACK"):
            await hall.publish("halls/hall-a/v1/events", b"hello?")
    with pytest.raises(SessionLost, match="CONNECT"):
        async with connect(config):
            pass
    broker.thaw()
    async with connect(config) as hall:
        await hall.publish("halls/hall-a/v1/events", b"there you are")


@both_protocols
async def test_the_last_will_speaks_when_a_session_ends_by_an_exception(
    broker: Broker, protocol: int
) -> None:
    will = Will("halls/hall-a/v1/state", b"lost")
    async with connect(broker.client("centre")) as centre:
        await centre.subscribe("halls/+/v1/state")
        with suppress(ZeroDivisionError):
            async with connect(broker.client("hall-a", protocol=protocol), will):
                raise ZeroDivisionError
        assert (await next_message(centre.messages())).payload == b"lost"
    async with connect(broker.client("centre")) as later:
        await later.subscribe("halls/+/v1/state")
        got = await next_message(later.messages())
    assert got == Message("halls/hall-a/v1/state", b"lost", retain=True)


@both_protocols
async def test_the_last_will_is_silent_after_a_goodbye(broker: Broker, protocol: int) -> None:
    will = Will("halls/hall-a/v1/state", b"lost")
    async with connect(broker.client("centre")) as centre:
        await centre.subscribe("halls/+/v1/state")
        async with connect(broker.client("hall-a", protocol=protocol), will) as hall:
            await hall.publish("halls/hall-a/v1/state", b"stopped", retain=True)
        async with connect(broker.client("hall-b", protocol=protocol)) as other:
            await other.publish("halls/hall-b/v1/state", b"later")
        messages = centre.messages()
        got = [(await next_message(messages)).payload for _ in range(2)]
    assert got == [b"stopped", b"later"]


async def test_a_second_session_of_the_same_client_ends_the_first(broker: Broker) -> None:
    config = broker.client("hall-a")
    async with connect(config) as first, connect(config):
        with pytest.raises(SessionLost):
            await next_message(first.messages())


async def test_a_reader_who_does_not_read_is_not_sent_more_than_it_can_hold(
    broker: Broker,
) -> None:
    async with (
        connect(broker.client("centre")) as centre,
        connect(broker.client("hall-a")) as hall,
    ):
        await centre.subscribe("halls/+/v1/events")
        async with asyncio.TaskGroup() as group:
            for number in range(3000):
                group.create_task(hall.publish("halls/hall-a/v1/events", b"%d" % number))
        messages = centre.messages()
        got = [int((await next_message(messages)).payload) for _ in range(3000)]
    assert got == list(range(3000))


async def test_nobody_listening_is_a_lost_session_not_a_crash() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # bound, not listening
        with pytest.raises(SessionLost, match="no connection"):
            async with connect(MqttConfig("127.0.0.1", sock.getsockname()[1], "x")):
                pass


CONNACK = b"\x20\x03\x00\x00\x00"


@pytest.mark.parametrize(
    "talk",
    [
        b"\x20\x03\xff\xff\xff" + b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10,
        CONNACK + b"\x30\x06\x00\x02\xff\xfe\x00x",  # a topic that isn't UTF-8
        CONNACK + b"\x30\x01\x00",  # half a length and no topic
        CONNACK + b"\x30\x03\x00\x09a",  # a topic longer than its packet
    ],
    ids=["no MQTT", "a topic in no encoding", "a packet of one byte", "a topic cut short"],
)
async def test_a_server_that_talks_nonsense_is_a_lost_session(talk: bytes) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(talk)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(SessionLost):
            async with connect(MqttConfig("127.0.0.1", port, "x")) as session:
                await anext(session.messages())


Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def broker_that(talks: Conversation) -> AsyncIterator[int]:
    """Its port. It stays on the line until the client is gone."""
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await talks(reader, writer)
        with suppress(OSError):
            await reader.read()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        gone.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await gone.wait()


@pytest.mark.parametrize("protocol", [5, 311])
async def test_a_packet_larger_than_ours_ends_the_session_before_it_fills_the_memory(
    protocol: Literal[5, 311],
) -> None:
    async def huge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(CONNACK if protocol == 5 else b"\x20\x02\x00\x00")
        writer.write(b"\x30\xff\xff\xff\x7f" + bytes(1000))

    async with broker_that(huge) as port:
        with pytest.raises(SessionLost, match="a packet of 268435455 bytes"):
            async with connect(MqttConfig("127.0.0.1", port, "x", protocol=protocol)) as session:
                await anext(session.messages())


@pytest.mark.parametrize("protocol", [5, 311])
async def test_the_largest_packet_of_our_broker_is_taken_piece_by_piece(
    protocol: Literal[5, 311],
) -> None:
    nothing = b"\x00" if protocol == 5 else b""  # no properties
    topic = b"halls/hall-a/v1/state"
    payload = bytes(BROKER_PACKET_BYTES)
    body = len(topic).to_bytes(2, "big") + topic + nothing + payload
    size = len(body)
    length = bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14])

    async def in_pieces(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(CONNACK if protocol == 5 else b"\x20\x02\x00\x00")
        small = b"\x00\x01t\x00\x01" + nothing
        writer.write(b"\x32" + bytes([len(small)]) + small + b"\x30" + length + body[:1000])
        await reader.read(1000)  # the small one is confirmed, the large one begun
        writer.write(body[1000:])

    async with (
        broker_that(in_pieces) as port,
        connect(MqttConfig("127.0.0.1", port, "x", protocol=protocol)) as session,
    ):
        messages = session.messages()
        assert (await next_message(messages)).topic == "t"
        assert (await next_message(messages)).payload == payload


async def test_an_answer_for_another_number_of_subscriptions_is_a_lost_session() -> None:
    async def miscounting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(CONNACK)
        data = b""
        while b"halls/b" not in data:
            data += await reader.read(100)
        at = data.rindex(b"\x82") + 2
        writer.write(b"\x90\x04" + data[at : at + 2] + b"\x00\x01")

    async with broker_that(miscounting) as port:
        with pytest.raises(SessionLost, match="answered 2 wishes by"):
            async with connect(MqttConfig("127.0.0.1", port, "x")) as session:
                await session.subscribe("halls/a", "halls/b")

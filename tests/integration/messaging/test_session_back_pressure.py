"""A reader that is slower than what arrives: bounded, and never deaf to the broker's answers."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from messaging.session import (
    BROKER_PACKET_BYTES,
    INBOX,
    UNCONFIRMED,
    Message,
    MqttConfig,
    Session,
    _PahoSession,
    connect,
)
from tests.support.broker import Broker

both_protocols = pytest.mark.parametrize("protocol", [5, 311])

EVENTS = "halls/hall-a/v1/events"


async def next_message(messages: AsyncIterator[Message]) -> Message:
    async with asyncio.timeout(20):
        return await anext(messages)


async def publish_all(session: Session, topic: str, payloads: list[bytes]) -> None:
    async with asyncio.timeout(60):
        await asyncio.gather(*(session.publish(topic, payload) for payload in payloads))


@both_protocols
async def test_a_reader_who_answers_each_message_hears_the_broker_however_many_arrive(
    broker: Broker, protocol: int
) -> None:
    count = 3000
    async with (
        connect(broker.client("hall-a")) as hall,
        connect(broker.client("centre", protocol=protocol)) as centre,
        asyncio.timeout(120),
    ):
        await centre.subscribe("halls/+/v1/events")
        await publish_all(hall, EVENTS, [b"%d" % number for number in range(count)])
        await hall.subscribe("halls/hall-a/v1/ack")
        messages, answers = centre.messages(), hall.messages()
        for number in range(count):
            message = await next_message(messages)
            assert int(message.payload) == number
            await centre.publish("halls/hall-a/v1/ack", message.payload)
            assert (await next_message(answers)).payload == message.payload


@both_protocols
async def test_who_reads_nothing_can_publish_and_holds_no_more_than_the_broker_may_send(
    broker: Broker, protocol: int
) -> None:
    big = bytes(BROKER_PACKET_BYTES - 100)
    count = 2 * UNCONFIRMED
    async with (
        connect(broker.client("hall-a")) as hall,
        connect(broker.client("centre", protocol=protocol)) as centre,
    ):
        assert isinstance(centre, _PahoSession)
        await centre.subscribe("halls/+/v1/events")
        await publish_all(hall, EVENTS, [big] * count)
        await publish_all(centre, "halls/hall-a/v1/ack", [b"%d" % n for n in range(count)])
        async with asyncio.timeout(20):
            while len(centre._inbox) < UNCONFIRMED:
                await asyncio.sleep(0.01)
        await centre.publish("halls/hall-a/v1/ack", b"all that was sent before it has arrived")
        assert len(centre._inbox) == UNCONFIRMED
        messages = centre.messages()
        for _ in range(count):
            assert (await next_message(messages)).payload == big
        assert centre._inbox_bytes == 0


@dataclass
class LimitlessBroker:
    """Speaks just enough MQTT 3.1.1, and sends messages without waiting for anything."""

    qos: int
    count: int
    received: bytes = b""
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)  # CONNECT
        writer.write(b"\x20\x02\x00\x00")  # CONNACK: welcome
        for number in range(self.count):
            packet_id = b"" if self.qos == 0 else (number + 1).to_bytes(2, "big")
            body = b"\x00\x01t" + packet_id + b"%d" % number
            writer.write(bytes([0x30 | self.qos << 1, len(body)]) + body)
        try:
            while received := await reader.read(65536):
                self.received += received
        except ConnectionError:
            pass  # the client drops the connection at the end
        writer.close()
        self.gone.set()


@pytest.mark.parametrize("qos", [0, 1])
async def test_what_a_broker_without_limits_sends_is_dropped_before_it_fills_the_memory(
    caplog: pytest.LogCaptureFixture, qos: int
) -> None:
    broker = LimitlessBroker(qos, count=INBOX + 1000)
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    async with server, asyncio.timeout(60):
        port = server.sockets[0].getsockname()[1]
        async with connect(MqttConfig("127.0.0.1", port, "x", protocol=311)) as session:
            assert isinstance(session, _PahoSession)
            while len(session._inbox) + session._dropped < broker.count:
                await asyncio.sleep(0.01)
            assert len(session._inbox) == INBOX
            messages = session.messages()
            got = [int((await anext(messages)).payload) for _ in range(INBOX)]
            assert got == list(range(INBOX))
        await broker.gone.wait()
    assert "dropped so far: 512" in caplog.text
    # What was dropped and what was taken: all of it is confirmed, each message once.
    confirmed = {broker.received[at : at + 4] for at in range(0, 4 * broker.count * qos, 4)}
    puback = b"\x40\x02"
    assert confirmed == {puback + (n + 1).to_bytes(2, "big") for n in range(broker.count * qos)}

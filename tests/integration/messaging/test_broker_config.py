"""Each line of the ACL does what it says, on a real mosquitto."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from messaging.broker import (
    PRODUCTION_USERS,
    Role,
    hash_password,
    production_config,
    render_acl,
    render_config,
)
from messaging.session import ConnectRefused, MqttConfig, PublishRefused, Session, connect
from tests.support.broker import Broker

HALL_WRITES = ("events", "backlog", "state", "cmd/1/reply")
HALL_READS = ("ack", "cmd/1")
CENTRE_READS = [f"halls/hall-a/v1/{each}" for each in HALL_WRITES]
CENTRE_WRITES = [f"halls/hall-a/v1/{each}" for each in HALL_READS]
DASHBOARD_TOPICS = ["central/v1/network", "central/v1/halls/hall-a/live"]
LAST = b"this is the last one"


async def may_publish(session: Session, topic: str, payload: bytes = b"x") -> bool:
    try:
        await session.publish(topic, payload)
    except PublishRefused:
        return False
    return True


async def readable(
    config: MqttConfig, topics: list[str], writers: list[Session], surely: str
) -> set[str]:
    """Which of ``topics`` reach a subscriber to everything; each is written by who may.

    ``surely``: one that it may read. It is written last, and a broker keeps the order: what has
    not come before it does not come.
    """
    seen: set[str] = set()
    async with connect(replace(config, client_id="reader")) as reader, asyncio.timeout(30):
        await reader.subscribe("#")
        for topic in topics:
            await written(writers, topic, b"x")
        await written(writers, surely, LAST)
        async for message in reader.messages():
            if message.payload == LAST:
                return seen
            seen.add(message.topic)
    raise AssertionError("the session ended without an error")


async def written(writers: list[Session], topic: str, payload: bytes) -> None:
    """By the first of ``writers`` who may."""
    for writer in writers:
        if await may_publish(writer, topic, payload):
            return
    raise AssertionError(f"nobody may write {topic}")


async def test_a_hall_may_write_its_own_topics_and_no_others(broker: Broker) -> None:
    async with connect(broker.client("hall-a")) as hall:
        for each in HALL_WRITES:
            assert await may_publish(hall, f"halls/hall-a/v1/{each}")
            assert not await may_publish(hall, f"halls/hall-b/v1/{each}")
        for topic in (*CENTRE_WRITES, *DASHBOARD_TOPICS, "halls/hall-a/v2/events", "anything"):
            assert not await may_publish(hall, topic)


async def test_a_forged_rating_of_another_hall_is_refused(broker: Broker) -> None:
    async with connect(broker.client("hall-b")) as attacker:
        with pytest.raises(PublishRefused, match="Not authorized"):
            await attacker.publish("halls/hall-a/v1/events", b'{"rating": "very_satisfied"}')


async def test_the_centre_may_answer_and_not_speak_for_a_hall(broker: Broker) -> None:
    async with connect(broker.client("centre")) as centre:
        for topic in (*CENTRE_WRITES, *DASHBOARD_TOPICS):
            assert await may_publish(centre, topic)
        for topic in (*CENTRE_READS, "halls/centre/v1/events", "anything"):
            assert not await may_publish(centre, topic)


async def test_dashboards_may_write_nothing_at_all(broker: Broker) -> None:
    async with connect(broker.client("dashboards")) as dashboards:
        for topic in (
            *CENTRE_READS, *CENTRE_WRITES, *DASHBOARD_TOPICS, "halls/dashboards/v1/events",
            "halls/dashboards/v1/state", "anything",
        ):  # fmt: skip
            assert not await may_publish(dashboards, topic)


async def test_everybody_reads_what_is_meant_for_them(broker: Broker) -> None:
    everything = [*CENTRE_READS, *CENTRE_WRITES, *DASHBOARD_TOPICS]
    async with (
        connect(broker.client("hall-a")) as hall,
        connect(broker.client("centre")) as centre,
    ):
        writers = [hall, centre]
        surely = {
            "hall-a": CENTRE_WRITES[0],
            "hall-b": "halls/hall-b/v1/ack",
            "centre": CENTRE_READS[0],
            "dashboards": DASHBOARD_TOPICS[0],
        }
        reads = {
            user: await readable(broker.client(user), everything, writers, topic)
            for user, topic in surely.items()
        }
    assert reads["hall-a"] == set(CENTRE_WRITES)
    assert reads["hall-b"] == set()
    assert reads["centre"] == {*CENTRE_READS, *DASHBOARD_TOPICS}
    assert reads["dashboards"] == set(DASHBOARD_TOPICS)


async def test_nobody_comes_in_without_a_name(broker: Broker) -> None:
    with pytest.raises(ConnectRefused):
        async with connect(MqttConfig("127.0.0.1", broker.port, "anyone")):
            pass


def listening_sockets(pid: int) -> list[list[str]]:
    """[address, port] in hexadecimal, of the network namespace of ``pid``."""
    tables = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
    lines = [line.split() for table in tables for line in table.splitlines()[1:]]
    return [line[1].split(":") for line in lines if line[3] == "0A"]


async def test_the_listeners_are_on_this_machine_only(broker: Broker) -> None:
    ports = {f"{port:04X}" for port in (broker.port, broker.websocket_port)}
    ours = [each for each in listening_sockets(broker.pid) if each[1] in ports]
    assert sorted(ours) == sorted(["0100007F", port] for port in ports)


def test_the_files_for_production_are_those_that_the_tests_run_on() -> None:
    folder = Path(__file__).parents[3] / "broker-config"
    assert (folder / "mosquitto.conf").read_text() == render_config(production_config()), (
        "run: python -m messaging.broker broker-config"
    )
    assert (folder / "acl").read_text() == render_acl(PRODUCTION_USERS)


def test_small_packets_leave_at_once() -> None:
    assert "\nset_tcp_nodelay true\n" in render_config(production_config())


def test_a_password_is_stored_salted_and_in_mosquittos_format() -> None:
    one, other = hash_password("secret"), hash_password("secret")
    assert one != other
    assert one.startswith("$7$1000$")
    assert "secret" not in one


def test_a_hall_needs_no_line_of_its_own() -> None:
    assert render_acl({"hall-a": Role.HALL}) == render_acl({})

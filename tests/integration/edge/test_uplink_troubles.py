"""What the hall's log says of its way to the centre: where, who, where to look; once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from contract import topics
from contract.documents import Ack
from messaging.session import MqttConfig, connect
from tests.integration.edge.test_uplink import HALL, PATIENCE, Centre, Hall, stopped
from tests.support.broker import Broker, running_broker


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with running_broker(tmp_path / "broker") as broker:
        yield broker


@asynccontextmanager
async def connecting(hall: Hall, mqtt: MqttConfig) -> AsyncIterator[None]:
    """The hall's uplink at work, with these settings."""
    async with hall.with_journal():
        hall.uplink._mqtt = mqtt
        task = asyncio.create_task(hall.uplink.run())
        try:
            yield
        finally:
            await stopped(task)


async def counted(hall: Hall, counter: str, times: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while hall.uplink.counters().get(f"uplink_{counter}", 0) < times:
            await asyncio.sleep(0.02)


def said(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if words in record.getMessage()]


async def test_a_refused_login_is_said_once_with_broker_user_and_keys(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hall = Hall(tmp_path / "journal.db", broker)
    async with connecting(hall, replace(broker.client(HALL), password="wrong")):
        await counted(hall, "connections_refused", 3)
    (line,) = said(caplog, "no way to the centre")
    assert f"the broker at 127.0.0.1:{broker.port} refused user {HALL}: Not authorized" in line
    assert "Look at username and password_file in [uplink]" in line
    assert "ConnectRefused" not in line


async def test_a_broker_that_is_away_is_said_once_with_its_address_and_keys(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await broker.stop()
    hall = Hall(tmp_path / "journal.db", broker)
    async with connecting(hall, broker.client(HALL)):
        await counted(hall, "connections_lost", 3)
    (line,) = said(caplog, "no way to the centre")
    assert f"no connection to the broker at 127.0.0.1:{broker.port}: Connection refused" in line
    assert "Look at host and port in [uplink]" in line
    assert "SessionLost" not in line


async def test_two_controllers_of_one_hall_are_told_of_each_other(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    centre = Centre()
    keeping = asyncio.create_task(centre.run(broker))
    one, other = Hall(tmp_path / "one.db", broker), Hall(tmp_path / "other.db", broker)
    other.new_epoch = one.new_epoch  # no two alike
    async with (
        connecting(one, broker.client(HALL, client_id="one")),
        connecting(other, broker.client(HALL, client_id="other")),
    ):
        for hall in (one, other):
            await centre.until(lambda hall=hall: hall.uplink.connected)  # type: ignore[misc]
        for hall in (one, other):
            await hall.happen(3)
            await centre.until(hall.all_acked)
            await hall.happen(2)
        for hall in (one, other):
            await counted(hall, "acks_of_another_epoch", 1)
        lines = said(caplog, "another controller is sending as hall hall-a")
        assert len(lines) == 2
        for line in lines:
            assert one.journal.epoch in line
            assert other.journal.epoch in line
            assert "Stop one of the two" in line
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_acks_of_this_halls_past_are_nobody_elses(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    past = "01J00000000000000000000000"
    kept = Ack(epoch=past, seq=7).model_dump_json().encode()
    asked = Ack(epoch=past, seq=7, resend=True).model_dump_json().encode()
    hall = Hall(tmp_path / "journal.db", broker)
    async with connect(broker.client("centre")) as centre:
        await centre.publish(topics.ack(HALL), kept, retain=True)
        async with connecting(hall, broker.client(HALL)):
            await counted(hall, "acks_of_another_epoch", 1)
            await centre.publish(topics.ack(HALL), asked, retain=True)
            await counted(hall, "acks_of_another_epoch", 2)
    assert said(caplog, "another controller") == []

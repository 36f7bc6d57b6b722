"""The centre's process on a real broker, with halls that send as the contract says."""

import asyncio
import os
import socket
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from contract import topics
from contract.documents import Ack, HallLive, HallReport, NetworkLive
from contract.events import DeviceChanged, TicketIssued
from contract.names import Presence
from messaging.session import Session, SessionLost, Will, connect
from tests.support.broker import Broker
from tests.support.centre import CentreProcess, HallOnTheWire, running_centre
from tests.support.hall_day import EPOCH, OTHER_EPOCH, HallDay, backlog, envelopes

DAY = HallDay(7).whole(60)
TEXTS = envelopes(DAY, "hall-a")
ONLINE = HallReport(hall="hall-a", presence=Presence.ONLINE).model_dump_json().encode()


async def acks(session: Session, *, epoch: str = EPOCH, seq: int) -> Ack:
    """The first acknowledgement that says this epoch and seq."""
    async with asyncio.timeout(20):
        async for message in session.messages():
            ack = Ack.model_validate_json(message.payload)
            if (ack.epoch, ack.seq) == (epoch, seq):
                return ack
    raise AssertionError("unreachable")


async def live_where(session: Session, **wanted: Any) -> HallLive:
    """The first live document of hall-a that says this."""
    async with asyncio.timeout(20):
        async for message in session.messages():
            if message.topic == topics.live("hall-a"):
                live = HallLive.model_validate_json(message.payload)
                if all(getattr(live, key) == value for key, value in wanted.items()):
                    return live
    raise AssertionError("unreachable")


async def gone(session: Session, *, told: bool = True) -> None:
    """Return when the network has no hall, and the deletion of hall-a's document has come if it
    is to be ``told``."""
    async with asyncio.timeout(20):
        async for message in session.messages():
            if message.topic == topics.live("hall-a"):
                told = told and message.payload != b""
                assert told or message.payload == b""
            elif (
                not told
                and not message.retain
                and NetworkLive.model_validate_json(message.payload).halls == 0
            ):
                return


async def test_a_backlog_is_kept_and_acknowledged(broker: Broker, centre: CentreProcess) -> None:
    hall = HallOnTheWire("hall-a", TEXTS)
    async with connect(broker.client("hall-a")) as session, asyncio.timeout(30):
        await hall.deliver(session)
    assert hall.acked == len(TEXTS)
    assert centre.seqs("hall-a") == list(range(1, len(TEXTS) + 1))


async def test_duplicates_are_answered_and_kept_once(broker: Broker, centre: CentreProcess) -> None:
    async with connect(broker.client("hall-a")) as session:
        await session.subscribe(topics.ack("hall-a"))
        for _ in range(2):
            await session.publish(topics.events("hall-a"), TEXTS[0].encode())
            await acks(session, seq=1)
    assert centre.seqs("hall-a") == [1]


async def test_a_gap_is_asked_for_and_filled(broker: Broker, centre: CentreProcess) -> None:
    async with connect(broker.client("hall-a")) as session:
        await session.subscribe(topics.ack("hall-a"))
        await session.publish(topics.backlog("hall-a"), backlog(TEXTS[:3] + TEXTS[5:8]))
        ack = await acks(session, seq=3)
        while not ack.resend:
            ack = await acks(session, seq=3)
        await session.publish(topics.backlog("hall-a"), backlog(TEXTS[3:5]))
        await acks(session, seq=8)


async def test_a_new_epoch_begins_at_one(broker: Broker, centre: CentreProcess) -> None:
    other = envelopes(HallDay(8).whole(2), "hall-a", epoch=OTHER_EPOCH)
    async with connect(broker.client("hall-a")) as session:
        await session.subscribe(topics.ack("hall-a"))
        await session.publish(topics.backlog("hall-a"), backlog(TEXTS[:9]))
        await acks(session, seq=9)
        await session.publish(topics.backlog("hall-a"), backlog(other))
        await acks(session, epoch=OTHER_EPOCH, seq=len(other))
    assert centre.seqs("hall-a") == list(range(1, 10))
    assert centre.seqs("hall-a", OTHER_EPOCH) == list(range(1, len(other) + 1))


async def test_garbage_is_kept_aside_and_holds_nothing_up(
    broker: Broker, centre: CentreProcess
) -> None:
    async with connect(broker.client("hall-a")) as session:
        await session.subscribe(topics.ack("hall-a"))
        await session.publish(topics.events("hall-a"), b"\x00\xffgarbage")
        await session.publish(topics.backlog("hall-a"), b'{"not": "an array"}')
        await session.publish(topics.state("hall-a"), b"[]")
        bad = TEXTS[1].replace('"business_day"', '"busy_day"')
        await session.publish(topics.backlog("hall-a"), backlog([TEXTS[0], "7", bad, TEXTS[2]]))
        await acks(session, seq=3)
    url = f"http://127.0.0.1:{centre.page_port}/healthz"
    async with aiohttp.ClientSession() as client, client.get(url) as response:
        health = await response.json()
    assert health["dead_letters"] == 4
    assert health["events"] == 3
    assert health["counters"]["faults"] == 1


async def test_other_events_under_old_numbers_are_counted_and_said_loudly(
    broker: Broker, centre: CentreProcess
) -> None:
    others = envelopes(HallDay(8).whole(1), "hall-a")
    async with connect(broker.client("hall-a")) as session:
        await session.subscribe(topics.ack("hall-a"))
        await session.publish(topics.backlog("hall-a"), backlog(TEXTS[:9]))
        await acks(session, seq=9)
        await session.publish(topics.backlog("hall-a"), backlog([*others[:3], TEXTS[9]]))
        await acks(session, seq=10)
    url = f"http://127.0.0.1:{centre.page_port}/healthz"
    async with aiohttp.ClientSession() as client, client.get(url) as response:
        health = await response.json()
    assert (health["counters"]["conflicts"], health["dead_letters"]) == (3, 3)
    assert "CRITICAL" in centre.log.read_text()
    assert "1..3" in centre.log.read_text()


async def test_what_nobody_could_store_stops_neither_the_hall_nor_the_others(
    broker: Broker, centre: CentreProcess
) -> None:
    device = next(seq for seq, event in enumerate(DAY) if isinstance(event, DeviceChanged))
    half = TEXTS[device].replace('"detail":""', '"detail":"\\ud800"')
    assert half != TEXTS[device]
    issued = next(seq for seq, event in enumerate(DAY) if isinstance(event, TicketIssued))
    deep = TEXTS[issued].replace('"data": {', f'"data": {{"x": {"[" * 950}{"]" * 950}, ')
    async with connect(broker.client("hall-a")) as session:
        await session.subscribe(topics.ack("hall-a"))
        for seq, text in enumerate(TEXTS):
            sent = {device: half, issued: deep}.get(seq, text)
            await session.publish(topics.events("hall-a"), sent.encode())
        await acks(session, seq=len(TEXTS))
    hall = HallOnTheWire("hall-b", envelopes(DAY, "hall-b"))
    async with connect(broker.client("hall-b")) as session, asyncio.timeout(30):
        await hall.deliver(session)
    assert "Traceback" not in centre.log.read_text()


async def test_what_happens_in_a_hall_is_live_at_the_centre(
    broker: Broker, centre: CentreProcess
) -> None:
    async with (
        connect(broker.client("dashboards")) as dashboard,
        connect(broker.client("hall-a")) as session,
    ):
        await dashboard.subscribe(topics.LIVE_OF_ALL)
        report = HallReport(
            hall="hall-a", presence=Presence.ONLINE, epoch=EPOCH, head=len(TEXTS) + 5
        )
        await session.publish(
            topics.state("hall-a"), report.model_dump_json().encode(), retain=True
        )
        await session.publish(topics.backlog("hall-a"), backlog(TEXTS))
        live = await live_where(dashboard, events=len(TEXTS))
        assert (live.presence, live.behind) == (Presence.ONLINE, 5)
        assert live.finished_today > 0
        assert live.heartbeat_age_seconds is not None
        assert live.satisfaction.satisfaction is not None
        for service in live.services:
            assert service.wait_p50_seconds is not None
            assert service.wait_p90_seconds is not None
            assert service.wait_p50_seconds <= service.wait_p90_seconds
    async with connect(broker.client("dashboards", client_id="later")) as late:
        await late.subscribe(topics.NETWORK)
        async with asyncio.timeout(10):
            async for message in late.messages():  # the first one may be from before the events
                network = NetworkLive.model_validate_json(message.payload)
                if (network.halls_online, network.events) == (1, len(TEXTS)):
                    break
        assert network.halls == 1


async def test_a_hall_that_is_taken_out_of_service_leaves_the_dashboards(
    broker: Broker, centre: CentreProcess
) -> None:
    async with connect(broker.client("dashboards")) as dashboard:
        await dashboard.subscribe(topics.LIVE_OF_ALL, topics.NETWORK)
        async with connect(broker.client("hall-a")) as session, asyncio.timeout(30):
            await session.publish(topics.state("hall-a"), ONLINE, retain=True)
            await HallOnTheWire("hall-a", TEXTS[:9]).deliver(session)
            await live_where(dashboard, events=9, presence=Presence.ONLINE)
            await session.publish(topics.state("hall-a"), b"", retain=True)
        await gone(dashboard)
    await centre.stop()
    await centre.start()
    async with connect(broker.client("dashboards")) as late:
        await late.subscribe(topics.LIVE_OF_ALL, topics.NETWORK)
        await gone(late, told=False)


async def test_the_last_will_shows_a_hall_as_lost(broker: Broker, centre: CentreProcess) -> None:
    def state(presence: Presence) -> bytes:
        return HallReport(hall="hall-a", presence=presence).model_dump_json().encode()

    will = Will(topics.state("hall-a"), state(Presence.LOST))
    async with connect(broker.client("dashboards")) as dashboard:
        await dashboard.subscribe(topics.LIVE_OF_ALL)
        with suppress(ZeroDivisionError):
            async with connect(broker.client("hall-a"), will) as session:
                await session.publish(topics.state("hall-a"), state(Presence.ONLINE), retain=True)
                await live_where(dashboard, presence=Presence.ONLINE)
                raise ZeroDivisionError
        await live_where(dashboard, presence=Presence.LOST)


async def test_whoever_knows_the_dashboards_password_can_not_end_the_centres_session(
    broker: Broker, centre: CentreProcess
) -> None:
    for guess in ("nowserving-sync", "centre"):
        intruder = broker.client("dashboards", client_id=guess)
        async with connect(intruder) as session:
            await session.subscribe(topics.NETWORK)
    hall = HallOnTheWire("hall-a", TEXTS[:10])
    async with connect(broker.client("hall-a")) as session, asyncio.timeout(30):
        await hall.deliver(session)
    url = f"http://127.0.0.1:{centre.page_port}/healthz"
    async with aiohttp.ClientSession() as client, client.get(url) as response:
        assert "reconnects" not in (await response.json())["counters"]


async def test_the_centre_killed_in_the_middle_loses_and_doubles_nothing(
    broker: Broker, centre: CentreProcess
) -> None:
    texts = envelopes(HallDay(9).whole(500), "hall-a")
    hall = HallOnTheWire("hall-a", texts)
    random = Random(3)
    async with connect(broker.client("hall-a")) as session, asyncio.timeout(100):
        delivery = asyncio.create_task(hall.deliver(session, batch=20, pause=0.01))
        for kill in range(1, 4):
            while hall.acked < kill * len(texts) // 5:
                await asyncio.sleep(0.001 + random.random() / 100)
            await centre.kill9()
            await centre.start()
        await delivery
    assert hall.resends >= 3
    assert centre.seqs("hall-a") == list(range(1, len(texts) + 1))


async def test_the_broker_killed_in_the_middle_loses_and_doubles_nothing(
    broker: Broker, centre: CentreProcess
) -> None:
    texts = envelopes(HallDay(10).whole(500), "hall-a")
    hall = HallOnTheWire("hall-a", texts)

    async def deliver() -> None:
        while hall.acked < len(texts):
            try:
                async with connect(broker.client("hall-a")) as session:
                    await hall.deliver(session, batch=20, pause=0.01)
            except SessionLost:
                await asyncio.sleep(0.1)

    async with asyncio.timeout(100):
        delivery = asyncio.create_task(deliver())
        for kill in range(1, 3):
            while hall.acked < kill * len(texts) // 4:
                await asyncio.sleep(0.005)
            await broker.kill9()
            await broker.start()
        await delivery
    assert centre.seqs("hall-a") == list(range(1, len(texts) + 1))


async def test_sigterm_ends_it_cleanly(centre: CentreProcess) -> None:
    assert await centre.stop() == 0
    assert "Traceback" not in centre.log.read_text()


async def test_the_page_comes_with_a_policy_that_lets_nothing_foreign_in(
    broker: Broker, centre: CentreProcess
) -> None:
    base = f"http://127.0.0.1:{centre.page_port}"
    async with aiohttp.ClientSession() as client:
        async with client.get(f"{base}/config.json") as response:
            config = await response.json()
        async with client.get(f"{base}/healthz") as response:
            policy = response.headers["Content-Security-Policy"]
    assert config["websocketUrl"] == f"ws://127.0.0.1:{broker.websocket_port}/mqtt"
    assert config["username"] == "dashboards"
    assert "default-src 'none'" in policy
    assert f"connect-src 'self' ws://127.0.0.1:{broker.websocket_port};" in policy
    assert "unsafe" not in policy
    forged = aiohttp.ClientSession(headers={"Host": "x;script-src *"})
    async with forged as client, client.get(f"{base}/config.json") as response:
        assert "script-src *" not in response.headers.get("Content-Security-Policy", "")


async def test_a_foreign_name_for_this_machine_is_told_nothing(
    broker: Broker, tmp_path: Path
) -> None:
    known = 'names = ["halls.example.com"]'
    async with running_centre(tmp_path / "centre", broker, known) as centre:
        base = f"http://127.0.0.1:{centre.page_port}"

        async def status(host: str, path: str = "/config.json") -> int:
            async with (
                aiohttp.ClientSession(headers={"Host": host}) as client,
                client.get(f"{base}{path}") as response,
            ):
                assert response.status == 200 or "password" not in await response.text()
                return response.status

        for host in ("127.0.0.1", "localhost:8090", "[::1]:8090", "10.1.2.3", "halls.example.com"):
            assert await status(host) == 200, host
        for host in ("evil.example.net", "halls.example.com.evil.example.net", "x;script-src *"):
            assert await status(host) in {400, 403}, host
        assert await status("monitor.example.com", "/healthz") == 200


async def test_what_is_no_http_is_refused_and_not_written_to_the_log(
    centre: CentreProcess,
) -> None:
    for request in (
        b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01 hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", centre.page_port)
        writer.write(request)
        answer = await reader.read()
        assert b" 400 " in answer.splitlines()[0]
        writer.close()
    assert "Traceback" not in centre.log.read_text()


async def test_the_service_manager_hears_ready_watchdog_and_stopping(
    broker: Broker, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        loop = asyncio.get_running_loop()
        centre = CentreProcess(tmp_path / "centre", broker)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cloud_sync.cli", "run", "--config", str(centre.config)),
            env={
                **os.environ,
                "NOTIFY_SOCKET": str(tmp_path / "notify"),
                "WATCHDOG_USEC": "300000",
            },
        )
        heard: list[str] = []
        async with asyncio.timeout(30):
            while heard.count("WATCHDOG=1") < 3:
                heard += (await loop.sock_recv(manager, 4096)).decode().splitlines()
            process.terminate()
            while "STOPPING=1" not in heard:
                heard += (await loop.sock_recv(manager, 4096)).decode().splitlines()
            assert await process.wait() == 0
    assert "READY=1" in heard


async def test_rebuild_on_the_command_line_gives_the_same_tables(
    broker: Broker, centre: CentreProcess
) -> None:
    hall = HallOnTheWire("hall-a", TEXTS)
    async with connect(broker.client("hall-a")) as session, asyncio.timeout(30):
        await hall.deliver(session)
    await centre.stop()

    def tickets() -> list[Any]:
        connection = sqlite3.connect(centre.database)
        try:
            return list(connection.execute("SELECT * FROM tickets ORDER BY ticket"))
        finally:
            connection.close()

    before = tickets()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cloud_sync.cli", "rebuild", "--config", str(centre.config)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert (process.returncode, out.decode()) == (0, f"rebuilt from {len(TEXTS)} events\n")
    assert len(before) == 60
    assert tickets() == before

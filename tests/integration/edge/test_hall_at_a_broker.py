"""A whole hall at a real broker: what it tells of itself, and that nobody else ends its session."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from contract import topics
from contract.documents import HallReport
from contract.names import DeviceStatus, Presence
from messaging.broker import Role
from messaging.session import Message, connect
from tests.support.broker import Broker, running_broker
from tests.support.real_hall import RealHall, real_hall

USERS = {
    "riverside": ("secret-of-the-hall", Role.HALL),
    "centre": ("secret-of-the-centre", Role.CENTRE),
    "dashboards": ("looking-on", Role.DASHBOARDS),
}


@asynccontextmanager
async def hall_and_its_reports(
    tmp_path: Path,
) -> AsyncIterator[tuple[RealHall, Broker, AsyncIterator[Message]]]:
    """A hall that reports once a second, and what a centre hears of it."""
    password = tmp_path / "password"
    password.write_text("secret-of-the-hall\n", encoding="utf-8")
    async with (
        running_broker(tmp_path / "broker", USERS) as broker,
        connect(broker.client("centre")) as centre,
    ):
        await centre.subscribe(topics.STATES_OF_ALL)
        uplink = (
            f'[uplink]\nhost = "127.0.0.1"\nport = {broker.port}\nheartbeat_seconds = 1\n'
            f'password_file = "{password}"\n'
        )
        async with real_hall(tmp_path, extra=uplink) as hall, asyncio.timeout(60):
            await hall.start()
            yield hall, broker, centre.messages()


async def next_report(reports: AsyncIterator[Message]) -> HallReport:
    return HallReport.model_validate_json((await anext(reports)).payload)


async def test_whoever_knows_the_dashboards_password_can_not_end_a_halls_session(
    tmp_path: Path,
) -> None:
    async with hall_and_its_reports(tmp_path) as (_, broker, reports):
        await next_report(reports)
        async with connect(broker.client("dashboards", client_id="riverside")) as intruder:
            await intruder.subscribe(topics.NETWORK)
        for _ in range(4):
            assert (await next_report(reports)).presence is Presence.ONLINE


async def test_garbage_on_any_wire_is_counted_in_what_the_hall_tells_of_itself(
    tmp_path: Path,
) -> None:
    async with hall_and_its_reports(tmp_path) as (hall, _, reports):
        wires = {
            "printer": hall.printer.endpoint,
            "bar-1": hall.screens[1].endpoint,
            "desks": hall.bus.endpoint,
        }
        counted: set[str] = set()
        while counted != set(wires):
            for name, wire in wires.items():
                if name not in counted:
                    wire.send(b"\x00\xff garbage \xa5\xa5\xa5")
            report = await next_report(reports)
            counted = {name for name in wires if report.counters.get(f"{name}.bytes_garbage")}
        assert await hall.press(1, "sign_on") == "accepted", "and the hall works all the same"
        while report.counters.get("presses") != 1:
            report = await next_report(reports)
        assert report.devices["printer"] is DeviceStatus.ONLINE

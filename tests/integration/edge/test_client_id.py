"""A whole hall at a real broker: nobody else can end its session."""

import asyncio
from pathlib import Path

from contract import topics
from contract.documents import HallReport
from contract.names import Presence
from messaging.broker import Role
from messaging.session import connect
from tests.support.broker import running_broker
from tests.support.real_hall import real_hall

USERS = {
    "riverside": ("secret-of-the-hall", Role.HALL),
    "centre": ("secret-of-the-centre", Role.CENTRE),
    "dashboards": ("looking-on", Role.DASHBOARDS),
}


async def test_whoever_knows_the_dashboards_password_can_not_end_a_halls_session(
    tmp_path: Path,
) -> None:
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
        async with real_hall(tmp_path, extra=uplink) as hall, asyncio.timeout(30):
            await hall.start()
            states = centre.messages()
            await anext(states)
            async with connect(broker.client("dashboards", client_id="riverside")) as intruder:
                await intruder.subscribe(topics.NETWORK)
            for _ in range(4):
                state = HallReport.model_validate_json((await anext(states)).payload)
                assert state.presence is Presence.ONLINE

"""What a dashboard sees of the hall: the centre's live document, as it stands at the broker."""

import asyncio
from contextlib import suppress

from pydantic import ValidationError

from contract import topics
from contract.documents import HallLive
from messaging.session import (
    MqttConfig,
    SessionLost,
    SubscribeRefused,
    connect,
    new_client_id,
)
from simulator.broker import BrokerPlan

LIVE_SECONDS = 45.0
"""So long it is waited for that the document knows everything: a broker that has just come back may
have kept none, and the centre waits for up to 30 s before it tries again."""
AGAIN_SECONDS = 0.5


async def live_document(plan: BrokerPlan, hall: str, events: int) -> HallLive | None:
    """The one that counts so many events; after a while the last that came, or none."""
    user = plan.users["dashboards"]
    mqtt = MqttConfig(
        "127.0.0.1",
        plan.port,
        new_client_id("dashboard"),
        user.name,
        user.password,
        protocol=plan.protocol,
    )
    last: HallLive | None = None
    with suppress(TimeoutError):
        async with asyncio.timeout(LIVE_SECONDS):
            while last is None or last.events < events:
                with suppress(SessionLost, SubscribeRefused):
                    async with connect(mqtt) as session:
                        await session.subscribe(topics.live(hall))
                        async for message in session.messages():
                            with suppress(ValidationError):
                                last = HallLive.model_validate_json(message.payload)
                            if last is not None and last.events >= events:
                                return last
                await asyncio.sleep(AGAIN_SECONDS)
    return last

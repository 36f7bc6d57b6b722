"""A session without a broker: what is put in arrives, what is published is remembered."""

import asyncio
from collections.abc import AsyncIterator

from messaging.session import Message, SessionLost


class LocalSession:
    """Fills ``messaging.session.Session``."""

    def __init__(self) -> None:
        self.published: asyncio.Queue[Message] = asyncio.Queue()
        self.filters: list[str] = []
        self._arrived: asyncio.Queue[Message | None] = asyncio.Queue()

    def arrive(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._arrived.put_nowait(Message(topic, payload, retain))

    def lose(self) -> None:
        self._arrived.put_nowait(None)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.published.put_nowait(Message(topic, payload, retain))

    async def subscribe(self, *filters: str) -> None:
        self.filters += filters

    async def messages(self) -> AsyncIterator[Message]:
        while (message := await self._arrived.get()) is not None:
            yield message
        raise SessionLost("the test says so")

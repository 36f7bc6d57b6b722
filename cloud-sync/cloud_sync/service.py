"""Puts the centre together and keeps it running."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from cloud_sync.config import SyncConfig, read_secret
from cloud_sync.ingest import Ingest
from cloud_sync.live import Live
from cloud_sync.store import Store
from cloud_sync.store.sqlite import SqliteStore
from cloud_sync.web import PageSettings, ServiceHealth, serve
from messaging.service_notify import feed_watchdog, notify
from messaging.session import Backoff, MqttConfig, Session, SessionLost, SubscribeRefused, connect
from messaging.trouble import Trouble, explained

log = logging.getLogger(__name__)


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Environment:
    """What the world gives us; tests give something else."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = _utc_now
    random: Random = field(default_factory=Random)


class Centre:
    """Ingest and live documents over one broker. ``run`` works until it is cancelled."""

    def __init__(
        self, store: Store, broker: MqttConfig, stale_seconds: float, world: Environment
    ) -> None:
        self._store = store
        self._broker = broker
        self._world = world
        self._trouble = Trouble(
            lambda text: log.warning("not in touch with the halls: %s", text), world.monotonic
        )
        self.connected = asyncio.Event()
        """Set while there is a session whose subscriptions stand and whose halls are shown."""
        self.live = Live(
            store, stale_seconds=stale_seconds, monotonic=world.monotonic, now=world.now
        )
        self.ingest = Ingest(
            store,
            monotonic=world.monotonic,
            now=world.now,
            random=world.random,
            on_state=self.live.on_state,
            on_commit=self.live.on_commit,
            on_retired=self.live.on_retired,
        )

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.ingest.commit_all())
            tasks.create_task(self._stay_connected())

    async def _stay_connected(self) -> None:
        backoff = Backoff(self._world.random)
        while True:
            try:
                async with connect(self._broker) as session:
                    await self._serve(session, backoff)
            except* (SessionLost, SubscribeRefused, sqlite3.Error) as group:
                self._note(_first(group))
            finally:
                self.connected.clear()
            self.ingest.counters["reconnects"] += 1
            await asyncio.sleep(backoff.next_delay())

    def _note(self, error: BaseException) -> None:
        if isinstance(error, SessionLost | SubscribeRefused):
            self._trouble.note(explained(error, self._broker, "mqtt"))
        elif isinstance(error, sqlite3.Error):
            self._trouble.note(self._store.explain(error))

    async def _serve(self, session: Session, backoff: Backoff) -> None:
        async with asyncio.TaskGroup() as tasks:
            listening, shown = asyncio.Event(), asyncio.Event()
            tasks.create_task(self.ingest.run(session, listening.set))
            tasks.create_task(self.live.run(session, shown.set))
            # A database that can't be read ends either of them, session after session: until both
            # have read what they begin with, no trouble is over.
            await listening.wait()
            await shown.wait()
            backoff.reset()
            self._trouble.over()
            self.connected.set()
            log.info("in touch with the halls at %s:%d", self._broker.host, self._broker.port)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


async def run(config: SyncConfig, stop: asyncio.Event, world: Environment | None = None) -> None:
    """The whole service, until ``stop`` is set.

    Raises what can't be mended by trying again: ``StoreError`` and ``CannotListen`` at the start.
    """
    world = world or Environment()
    async with _opened(config) as store:
        centre = Centre(store, config.broker(), config.presence.stale_seconds, world)

        async def health() -> ServiceHealth:
            events, dead_letters = await store.totals()
            return ServiceHealth(
                connected=centre.connected.is_set(),
                events=events,
                dead_letters=dead_letters,
                counters=dict(centre.ingest.counters),
            )

        settings = PageSettings(
            websocket_port=config.page.websocket_port,
            websocket_url=config.page.websocket_url,
            username=config.page.username,
            password=read_secret(config.page.password_file) or "",
            names=config.page.names,
            framed_by=config.page.framed_by,
        )
        async with serve(config.page.host, config.page.port, settings, health):
            notify("READY=1", status=f"http://{config.page.host}:{config.page.port}/")
            log.info("page at http://%s:%d/", config.page.host, config.page.port)
            try:
                await _until(stop, centre.run(), _feed_watchdog(store))
            finally:
                notify("STOPPING=1")


@asynccontextmanager
async def _opened(config: SyncConfig) -> AsyncIterator[Store]:
    store = await SqliteStore.open(config.store.path)
    try:
        yield store
    finally:
        await store.close()


async def _until(stop: asyncio.Event, *works: Coroutine[None, None, None]) -> None:
    """Run these until ``stop``; an error of one ends all and is raised."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(work) for work in works]
        await stop.wait()
        notify("STOPPING=1")  # before the work ends, not after
        for task in running:
            task.cancel()


async def _feed_watchdog(store: Store) -> None:
    """Tell the service manager that the database is read and written; silence makes it restart us.

    Whoever writes is asked, too: pages go on while nothing that halls send is kept.
    """

    async def answers() -> bool:
        try:
            await store.check()
        except (sqlite3.Error, OSError) as error:
            log.error("the watchdog is not fed: %r", error)
            return False
        return True

    await feed_watchdog(answers, "the database has")

"""What dashboards see: one retained document per hall, and one for the network.

A document is published when it has changed, at most every 250 ms, and every few seconds anyway so
that the age of the heartbeat stays true.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from pydantic import BaseModel

from cloud_sync.seldom import Seldom
from cloud_sync.store import HallFacts, ServiceFacts, Store
from contract import topics
from contract.documents import (
    HallLive,
    HallReport,
    Names,
    NetworkLive,
    Satisfaction,
    ServiceLive,
)
from contract.names import SATISFIED_RATINGS, Presence, ServiceId
from messaging.session import PublishRefused, Session

EVERY_SECONDS = 0.25
RENEW_SECONDS = 5.0
PUBLISHED_AT_ONCE = 10
"""Halls' documents in flight: half of what a session takes, the other is for acknowledgements."""


@dataclass(slots=True)
class _Hall:
    state: HallReport | None = None
    heard_at: float | None = None
    """When its last own heartbeat came; a retained one tells nothing of its age."""
    first_seen_at: float = 0.0
    dirty: bool = True
    facts: HallFacts | None = None
    """What the store said last."""
    news: bool = True
    """The store may say something else by now."""
    published: BaseModel | None = None
    published_at: float = field(default=float("-inf"))
    live: HallLive | None = None


class Live:
    """Keeps the live documents. ``on_state``, ``on_commit``, ``on_retired`` say what is new."""

    def __init__(
        self,
        store: Store,
        *,
        stale_seconds: float,
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        """``stale_seconds``: a hall that was not heard for so long is lost."""
        self._store = store
        self._stale_seconds = stale_seconds
        self._monotonic = monotonic
        self._now = now
        self._halls: dict[str, _Hall] = {}
        self._retired: set[str] = set()
        """Their documents are still to be deleted."""
        self._network: NetworkLive | None = None
        self._network_at = float("-inf")
        self._seldom = Seldom()

    def on_state(self, state: HallReport, retained: bool) -> None:
        """A hall's state document came."""
        hall = self._hall(state.hall)
        if state.presence is Presence.LOST and hall.state is not None:
            # The last will knows nothing else: keep what the hall said itself.
            hall.state = hall.state.model_copy(update={"presence": Presence.LOST})
        else:
            hall.state = state
        if not retained and state.presence is Presence.ONLINE:
            hall.heard_at = self._monotonic()
        hall.dirty = True

    def on_commit(self, halls: Iterable[str]) -> None:
        """The store has news of these halls."""
        for name in halls:
            hall = self._hall(name)
            hall.news = hall.dirty = True

    def on_retired(self, name: str) -> None:
        """The hall is out of service: it is neither shown nor counted, until it is heard again."""
        self._halls.pop(name, None)
        self._retired.add(name)

    def _hall(self, name: str) -> _Hall:
        self._retired.discard(name)
        if name not in self._halls:
            self._halls[name] = _Hall(first_seen_at=self._monotonic())
        return self._halls[name]

    async def run(self, session: Session, shown: Callable[[], None]) -> None:
        """Publish until the session is lost. A new broker may know nothing: begin with all, and
        call ``shown`` then."""
        self.on_commit(position.hall for position in await self._store.positions())
        # Whatever ended us may have come before it was done.
        self._retired.update(set(await self._store.retired()) - self._halls.keys())
        for hall in self._halls.values():
            hall.dirty, hall.published = True, None
        self._network_at = float("-inf")
        await self.publish_due(session)
        shown()
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.publish_due(session)

    async def publish_due(self, session: Session) -> None:
        """One round: whatever is new or due."""
        due = [each for each in self._halls.items() if each[1].dirty or self._is_old(each[1])]
        for start in range(0, len(due), PUBLISHED_AT_ONCE):
            async with asyncio.TaskGroup() as group:
                for name, hall in due[start : start + PUBLISHED_AT_ONCE]:
                    group.create_task(self._publish_hall(session, name, hall))
        for name in list(self._retired):
            await self._publish(session, topics.live(name), None)
            self._retired.discard(name)
        await self._publish_network(session)

    def _is_old(self, hall: _Hall) -> bool:
        return self._monotonic() - hall.published_at >= RENEW_SECONDS

    async def _publish_hall(self, session: Session, name: str, hall: _Hall) -> None:
        now, renew = self._monotonic(), self._is_old(hall)
        hall.dirty = False
        if hall.facts is None or hall.news:
            hall.news = False  # before asking: more may come meanwhile
            hall.facts = await self._store.facts(name)
        hall.live = self._document(name, hall, hall.facts)
        essence = _essence(hall.live)
        if essence != hall.published or renew:
            await self._publish(session, topics.live(name), hall.live)
            hall.published, hall.published_at = essence, now

    async def _publish_network(self, session: Session) -> None:
        events, dead_letters = await self._store.totals()
        lives = [hall.live for hall in self._halls.values() if hall.live is not None]
        network = network_live(lives, events, dead_letters, self._now())
        now = self._monotonic()
        before = self._network
        if (
            before is None
            or now - self._network_at >= RENEW_SECONDS
            or before.model_copy(update={"updated_at": network.updated_at}) != network
        ):
            await self._publish(session, topics.NETWORK, network)
            self._network, self._network_at = network, now

    async def _publish(self, session: Session, topic: str, document: BaseModel | None) -> None:
        """``None`` deletes what is retained there."""
        payload = b"" if document is None else document.model_dump_json().encode()
        try:
            await session.publish(topic, payload, retain=True)
        except PublishRefused as refused:
            self._seldom.say(logging.ERROR, topic, f"the broker does not let us publish: {refused}")

    def _document(self, name: str, hall: _Hall, facts: HallFacts) -> HallLive:
        now = self._monotonic()
        age = None if hall.heard_at is None else now - hall.heard_at
        state = hall.state
        return HallLive(
            hall=name,
            name=state.name if state else {},
            presence=self._presence(hall, now),
            heartbeat_age_seconds=age,
            business_day=date.fromisoformat(facts.day.business_day) if facts.day else None,
            updated_at=self._now(),
            events=facts.events,
            behind=_behind(hall.state, facts),
            services=_services_live(facts.services, state.service_names if state else {}),
            windows=facts.windows,
            issued_today=facts.issued,
            finished_today=facts.finished,
            no_shows_today=facts.no_shows,
            service_p50_seconds=facts.service_p50_seconds,
            satisfaction=satisfaction(facts.ratings, facts.finished),
            devices=facts.devices,
        )

    def _presence(self, hall: _Hall, now: float) -> Presence:
        if hall.state is None:
            return Presence.LOST
        last = hall.first_seen_at if hall.heard_at is None else hall.heard_at
        if hall.state.presence is Presence.ONLINE and now - last > self._stale_seconds:
            return Presence.LOST
        return hall.state.presence


def network_live(
    halls: Sequence[HallLive], events: int, dead_letters: int, now: datetime
) -> NetworkLive:
    """All halls in a few numbers."""
    ratings: Counter[str] = Counter()
    for hall in halls:
        ratings.update(hall.satisfaction.ratings)
    return NetworkLive(
        updated_at=now,
        halls=len(halls),
        halls_online=sum(1 for hall in halls if hall.presence is Presence.ONLINE),
        events=events,
        dead_letters=dead_letters,
        waiting=sum(service.waiting for hall in halls for service in hall.services),
        satisfaction=satisfaction(ratings, sum(hall.finished_today for hall in halls)),
    )


def satisfaction(ratings: dict[str, int] | Counter[str], finished: int) -> Satisfaction:
    """(very satisfied + satisfied) ÷ ratings given, and rated ÷ finished."""
    given = sum(ratings.values())
    good = sum(count for rating, count in ratings.items() if rating in SATISFIED_RATINGS)
    return Satisfaction(
        ratings=dict(ratings),
        satisfaction=good / given if given else None,
        rated_share=min(1.0, given / finished) if finished else None,
    )


def _services_live(
    facts: Sequence[ServiceFacts], names: dict[ServiceId, Names]
) -> tuple[ServiceLive, ...]:
    """In the order in which the hall names them; others after them, by their ids."""
    place = {service: at for at, service in enumerate(names)}
    ordered = sorted(facts, key=lambda each: (place.get(each.service, len(place)), each.service))
    return tuple(_service_live(each, names.get(each.service, {})) for each in ordered)


def _service_live(facts: ServiceFacts, name: Names) -> ServiceLive:
    return ServiceLive(
        service=facts.service,
        name=name,
        waiting=facts.waiting,
        called_today=facts.called,
        wait_p50_seconds=facts.wait_p50_seconds,
        wait_p90_seconds=facts.wait_p90_seconds,
    )


def _behind(state: HallReport | None, facts: HallFacts) -> int:
    """Events that the hall has and we do not."""
    if state is None or state.epoch is None:
        return 0
    position = facts.position
    if position is None or position.epoch != state.epoch:
        return state.head
    return max(0, state.head - position.contiguous)


def _essence(live: HallLive) -> HallLive:
    """What has to change for the document to be new: not the clock alone."""
    return live.model_copy(update={"updated_at": None, "heartbeat_age_seconds": None})

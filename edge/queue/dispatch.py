"""Who is next at a window: a pure function over the heads of the lines.

A line holds the waiting tickets of one service and tier in the order of their places, so only its
head can be next, whatever the policy; the cost is the number of lines, not of people. The
look-ahead estimate simulates with this very function.
"""

from bisect import insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from contract.names import ServiceId, TicketId, Tier, WindowNumber


class Waiting(NamedTuple):
    """One waiting ticket, as dispatch sees it. Sorts by place, then by age of the ticket."""

    place: tuple[int, int]
    ticket: TicketId
    service: ServiceId
    tier: Tier
    since: float
    """Unix seconds of the issue, for policies in which waiting earns priority."""


Line = tuple[Waiting, ...]
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Lines:
    """All lines of a hall. Immutable: adding and taking give new ``Lines``."""

    by_service: Mapping[ServiceId, Mapping[Tier, Line]]
    by_window: Mapping[WindowNumber, Line]
    """Tickets that were transferred to one certain window."""

    def add(self, waiting: Waiting, window: WindowNumber | None = None) -> "Lines":
        if window is not None:
            line = _inserted(self.by_window.get(window, ()), waiting)
            return Lines(self.by_service, {**self.by_window, window: line})
        tiers = self.by_service.get(waiting.service, {})
        line = _inserted(tiers.get(waiting.tier, ()), waiting)
        tiers = {**tiers, waiting.tier: line}
        return Lines({**self.by_service, waiting.service: tiers}, self.by_window)

    def take(
        self, ticket: TicketId, service: ServiceId, tier: Tier, window: WindowNumber | None
    ) -> "Lines":
        if window is not None:
            return Lines(self.by_service, _without(self.by_window, window, ticket))
        tiers = _without(self.by_service[service], tier, ticket)
        if tiers:
            return Lines({**self.by_service, service: tiers}, self.by_window)
        others = {key: value for key, value in self.by_service.items() if key != service}
        return Lines(others, self.by_window)

    def count(self, service: ServiceId) -> int:
        """How many wait for a service, those transferred to a certain window included."""
        here = sum(len(line) for line in self.by_service.get(service, {}).values())
        there = sum(w.service == service for line in self.by_window.values() for w in line)
        return here + there


NO_LINES = Lines({}, {})


def _without(lines: Mapping[Key, Line], key: Key, ticket: TicketId) -> Mapping[Key, Line]:
    """These lines, with ``ticket`` taken from one of them; an empty line is none."""
    line = tuple(waiting for waiting in lines[key] if waiting.ticket != ticket)
    if line:
        return {**lines, key: line}
    return {other: line for other, line in lines.items() if other != key}


def _inserted(line: Line, waiting: Waiting) -> Line:
    if not line or line[-1] < waiting:
        return (*line, waiting)
    longer = list(line)
    insort(longer, waiting)
    return tuple(longer)


PriorityKey = tuple[float, ...]
Policy = Callable[[Waiting, int, float], PriorityKey]
"""(ticket, the window's preference for its service, Unix seconds now) -> key; the smallest is next.

Within one line the key must not fall with the place, as only the head of a line is asked.
"""

TIER_RANK: Mapping[Tier, int] = {
    Tier.PRIORITY: 0,
    Tier.VIP_DIAMOND: 1,
    Tier.VIP_GOLD: 2,
    Tier.VIP_SILVER: 3,
    Tier.NORMAL: 4,
}


def first_come(waiting: Waiting, preference: int, now: float) -> PriorityKey:  # noqa: ARG001
    """First come, first served, within what the window prefers. Tiers do not count."""
    return (preference, *waiting.place)


def strict_priority(waiting: Waiting, preference: int, now: float) -> PriorityKey:  # noqa: ARG001
    """The higher tier first, then what the window prefers, then first come."""
    return (TIER_RANK[waiting.tier], preference, *waiting.place)


POLICIES: Mapping[str, Policy] = {
    "first_come": first_come,
    "strict_priority": strict_priority,
}


def next_ticket(
    lines: Lines,
    window: WindowNumber,
    preference: Mapping[ServiceId, int],
    policy: Policy,
    now: float,
) -> Waiting | None:
    """Who is next at ``window``, which takes the services in ``preference``; ``None``: nobody."""
    best: Waiting | None = None
    best_key: PriorityKey = ()
    for service, rank in preference.items():
        for line in lines.by_service.get(service, {}).values():
            if line:
                key = policy(line[0], rank, now)
                if best is None or key < best_key:
                    best, best_key = line[0], key
    own = lines.by_window.get(window)
    if own:
        for waiting in own:  # several tiers share this short line
            key = policy(waiting, 0, now)
            if best is None or key < best_key:
                best, best_key = waiting, key
    return best

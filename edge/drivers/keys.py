"""Keys and lamps as pure logic: debounce, stuck keys, blinking. No clock, no loop: time is passed
in, in seconds of any clock that never runs backwards."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from edge.drivers.roles import LampPattern

STABLE_SECONDS = 0.020
"""Contacts bounce for 1 to 15 ms."""
STUCK_SECONDS = 10.0
BLINK_SECONDS = 0.5
"""Each of the two halves."""
FLASH_SECONDS = 0.3
MOST_FLASHES = 8
"""In one light; nobody counts more."""
SHORT_ABSENCE_SECONDS = 2.0
"""A key that was up before the wire was lost, and is down when it is back so soon, was pressed by
somebody who is still there and waits for an answer."""


class KeyChange(StrEnum):
    PRESSED = "pressed"
    STUCK = "stuck"
    """Held for longer than a person would; ignored until released."""
    FREED = "freed"
    """Released after having been stuck."""


@dataclass(frozen=True, slots=True)
class KeyEvent:
    key: str
    change: KeyChange
    at: float = field(compare=False)
    """When it was seen first, in seconds."""


@dataclass(slots=True)
class _Contact:
    """One key: the level that is believed, and the one that is seen but not yet believed."""

    down: bool | None = None
    """``None``: not seen since start."""
    down_since: float = 0.0
    candidate_since: float | None = None
    """Since when the other level than ``down`` is seen without a break."""
    stuck: bool = False
    up_until: float | None = None
    """It was up when it was lost from sight, and when that was."""
    down_at_first_sight: bool = False
    """And ever since."""
    doubtful_until: float = 0.0
    """Who plugs a wire in makes it bounce: what is seen of a press that begins before this is
    believed no sooner than after ``STABLE_SECONDS``."""


class KeyFilter:
    """Turns the levels of some keys into presses.

    A press counts once, when the key was down for ``press_seconds`` without a break; the next
    press of that key needs ``release_seconds`` of rest first. For levels that are polled slower
    than contacts bounce, ``press_seconds=0`` takes the first sight of a key that is down: then a
    short tap needs one poll to be noticed, and the bounce is held off by the release alone.

    A key that is down when it is first seen was not pressed now: it must be released first. Only
    one that was up until it was lost from sight, ``SHORT_ABSENCE_SECONDS`` ago or less, was, if
    it is still seen down ``STABLE_SECONDS`` later, and if it is the only one: several that are
    down at first sight are a fault of the wire, and all of them must be released first.
    Bounded by construction: the keys are fixed, and a chattering key gives at most one press per
    ``press_seconds + release_seconds``.
    """

    def __init__(
        self,
        keys: Iterable[str],
        *,
        press_seconds: float = STABLE_SECONDS,
        release_seconds: float = STABLE_SECONDS,
        stuck_seconds: float = STUCK_SECONDS,
    ) -> None:
        self._press_seconds = press_seconds
        self._release_seconds = release_seconds
        self._stuck_seconds = stuck_seconds
        self._contacts = {key: _Contact() for key in keys}
        self.presses = 0
        self.bounces = 0
        """Level changes that did not last."""

    def sample(self, key: str, down: bool, at: float) -> list[KeyEvent]:
        """The level of ``key`` at ``at``: an edge or a poll. Raises ``KeyError``: no such key."""
        contact = self._contacts[key]
        contact.down_at_first_sight &= down
        events: list[KeyEvent] = []
        # Of a key that is polled nobody knows since when it is up again: it was seen down once.
        if down or self._press_seconds > 0 or not self._doubtful(contact):
            events = self._settle(key, contact, at)
        if contact.down is None:
            self._first_seen(contact, down, at)
        elif down == contact.down:
            if contact.candidate_since is not None:
                contact.candidate_since = None
                self.bounces += 1
        elif contact.candidate_since is None:
            contact.candidate_since = at
        return events + self._settle(key, contact, at)

    def advance(self, at: float) -> list[KeyEvent]:
        """What the passing of time alone brings until ``at``, with levels as last sampled."""
        return [
            event
            for key, contact in self._contacts.items()
            for event in self._settle(key, contact, at)
        ]

    def due(self) -> float | None:
        """When ``advance`` will next have something to do, if no level changes before."""
        instants = map(self._due, self._contacts.values())
        return min((at for at in instants if at is not None), default=None)

    def stuck(self) -> frozenset[str]:
        """The keys that are stuck now."""
        return frozenset(key for key, contact in self._contacts.items() if contact.stuck)

    def forget(self, at: float) -> None:
        """The levels are unknown from now on (the wire is down): begin anew, keep the counts."""
        for key, contact in self._contacts.items():
            up_until = at if contact.down is False else contact.up_until
            self._contacts[key] = _Contact(up_until=up_until)

    def _first_seen(self, contact: _Contact, down: bool, at: float) -> None:
        up_until, contact.up_until = contact.up_until, None
        contact.doubtful_until = at + STABLE_SECONDS
        contact.down, contact.down_since = down, at
        if not down:
            return
        others = [other for other in self._contacts.values() if other.down_at_first_sight]
        contact.down_at_first_sight = True
        for other in others:  # no presses either, and to be released first
            other.down, other.candidate_since = True, None
        if not others and up_until is not None and at - up_until <= SHORT_ABSENCE_SECONDS:
            contact.down, contact.candidate_since = False, at

    @staticmethod
    def _doubtful(contact: _Contact) -> bool:
        """Whether it is seen down, and not yet to be believed at once."""
        since = contact.candidate_since
        return not contact.down and since is not None and since < contact.doubtful_until

    def _due(self, contact: _Contact) -> float | None:
        if contact.candidate_since is not None:
            wait = self._release_seconds if contact.down else self._press_seconds
            if self._doubtful(contact):
                wait = max(wait, STABLE_SECONDS)
            return contact.candidate_since + wait
        if contact.down and not contact.stuck:
            return contact.down_since + self._stuck_seconds
        return None

    def _settle(self, key: str, contact: _Contact, at: float) -> list[KeyEvent]:
        """Believe a level that lasted, and notice a key that is held for too long."""
        events: list[KeyEvent] = []
        due = self._due(contact)
        if due is None or at < due:
            return events
        if contact.candidate_since is None:
            contact.stuck = True
            return [KeyEvent(key, KeyChange.STUCK, at)]
        if contact.down:
            if contact.stuck:
                events.append(KeyEvent(key, KeyChange.FREED, contact.candidate_since))
            contact.down = False
        else:
            contact.down, contact.down_since = True, contact.candidate_since
            self.presses += 1
            events.append(KeyEvent(key, KeyChange.PRESSED, contact.down_since))
        contact.stuck = False
        contact.candidate_since = None
        return events + self._settle(key, contact, at)


@dataclass(slots=True)
class Lamp:
    """One lamp's pattern over time; GPIO and Modbus blink alike because both ask here."""

    _steady: LampPattern = LampPattern.OFF
    _steady_since: float = 0.0
    _flash_until: float | None = None
    _flash_seconds: float = 0.0
    """How long the light of one or several flashes lasts, once it is shown."""
    _flash_awaited: bool = False

    def set(self, pattern: LampPattern, at: float, *, flash_within_seconds: float = 0.0) -> None:
        """From now on. A flash is laid over the steady pattern, and a new pattern ends it; a
        lamp that blinks and is told to blink keeps its rhythm.

        Each flash answers somebody: one that comes before the last is over makes the light longer
        by its own length, so that two answers given in one moment don't look like one.

        ``flash_within_seconds``: a flash lasts until so much later, or from ``shown`` on, for a
        lamp that can't be lit at once.
        """
        if pattern is LampPattern.FLASH:
            lit_for = min(self._flash_left(at) + FLASH_SECONDS, MOST_FLASHES * FLASH_SECONDS)
            self._flash_seconds = lit_for
            self._flash_until = at + max(lit_for, flash_within_seconds)
            self._flash_awaited = flash_within_seconds > 0
            return
        self._flash_until = None
        if pattern is not self._steady:
            self._steady, self._steady_since = pattern, at

    def _flash_left(self, at: float) -> float:
        """How long the flashes that were set before are still to be lit."""
        if self._flash_until is None or at >= self._flash_until:
            return 0.0
        return self._flash_seconds if self._flash_awaited else self._flash_until - at

    def shown(self, at: float) -> None:
        """It really is as ``lit`` says, since ``at``: a flash that was awaited lasts from here."""
        if self._flash_awaited and self._flash_until is not None and at < self._flash_until:
            self._flash_until = at + self._flash_seconds
            self._flash_awaited = False

    def lit(self, at: float) -> bool:
        """Whether it is lit. The flash of a lamp that is on is dark, else nobody would see it."""
        if self._flash_until is not None and at < self._flash_until:
            return self._steady is not LampPattern.ON
        if self._steady is LampPattern.BLINK:
            return self._half(at) % 2 == 0
        return self._steady is LampPattern.ON

    def next_change(self, at: float) -> float | None:
        """The next instant after ``at`` at which ``lit`` may change by itself."""
        instants = []
        if self._flash_until is not None and at < self._flash_until:
            instants.append(self._flash_until)
        if self._steady is LampPattern.BLINK:
            instants.append(self._steady_since + (self._half(at) + 1) * BLINK_SECONDS)
        return min(instants, default=None)

    def _half(self, at: float) -> int:
        """How many halves of the blink are over; exact at the instants ``next_change`` gives."""
        half = int((at - self._steady_since) / BLINK_SECONDS)
        return half + (self._steady_since + (half + 1) * BLINK_SECONDS <= at)

"""Presses of one keypad, answered one after the other."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from contract.commands import Refusal, RefusalReason
from contract.events import HallEvent
from edge.drivers.roles import Keypad, LampPattern

log = logging.getLogger(__name__)

MAX_WAITING = 16
"""Presses of one keypad that may wait; somebody who leans on all keys fills it."""

LEAN_SECONDS = 0.1
"""Different keys that go down within this of each other are an elbow, not wishes: no finger goes
from one to the next so fast."""

ACCEPTED = "accepted"
REFUSED = "refused"

Outcome = tuple[HallEvent, ...] | Refusal
Handler = Callable[[str], Awaitable[Outcome]]


class Presses:
    """Takes the presses of a keypad in order, and answers every one of them with a lamp.

    A press that the rules refuse is answered by the lamp (or buzzer) ``refused``, one that was
    accepted by ``accepted``; what else it leads to (paper, screen) is another's work.
    """

    def __init__(self, keypad: Keypad, handler: Handler, *, refuse_leaning: bool = False) -> None:
        """``refuse_leaning``: the keypad is one person's. Somebody who leans on it must not call,
        start and finish a customer; where the keys go down one by one, the first counts."""
        self.pressed = 0
        self.refused = 0
        self._keypad = keypad
        self._handler = handler
        self._refuse_leaning = refuse_leaning
        self._waiting: asyncio.Queue[tuple[str, float]] = asyncio.Queue(MAX_WAITING)
        self._recent: deque[tuple[str, float]] = deque(maxlen=MAX_WAITING)
        keypad.on_press(self._take)

    def _take(self, key: str, at: float) -> None:
        self.pressed += 1
        press = key, at
        self._recent.append(press)
        try:
            self._waiting.put_nowait(press)
        except asyncio.QueueFull:
            self._refuse()

    async def run(self) -> None:
        """Answer presses until cancelled."""
        while True:
            key, at = await self._waiting.get()
            try:
                outcome = await self._outcome(key, at)
            except Exception:  # a bug must not leave the next customer without an answer
                log.exception("%s: the press of %s failed", self._keypad.id, key)
                outcome = Refusal(reason=RefusalReason.INTERNAL_ERROR, command=key)
            if isinstance(outcome, Refusal):
                self._refuse()
            else:
                self._keypad.set_lamp(ACCEPTED, LampPattern.FLASH)

    async def _outcome(self, key: str, at: float) -> Outcome:
        if self._refuse_leaning and self._is_leaning(key, at):
            return Refusal(reason=RefusalReason.KEYS_TOGETHER, command=key)
        return await self._handler(key)

    def _is_leaning(self, key: str, at: float) -> bool:
        return any(other != key and abs(then - at) <= LEAN_SECONDS for other, then in self._recent)

    def _refuse(self) -> None:
        self.refused += 1
        self._keypad.set_lamp(REFUSED, LampPattern.FLASH)

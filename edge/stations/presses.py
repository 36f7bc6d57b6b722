"""Presses of one keypad, answered one after the other."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from contract.commands import Refusal, RefusalReason
from contract.events import HallEvent
from edge.drivers.roles import Keypad, LampPattern

log = logging.getLogger(__name__)

MAX_WAITING = 16
"""Presses of one keypad that may wait; somebody who leans on all keys fills it."""

ACCEPTED = "accepted"
REFUSED = "refused"

Outcome = tuple[HallEvent, ...] | Refusal
Handler = Callable[[str], Awaitable[Outcome]]


class Presses:
    """Takes the presses of a keypad in order, and answers every one of them with a lamp.

    A press that the rules refuse is answered by the lamp (or buzzer) ``refused``, one that was
    accepted by ``accepted``; what else it leads to (paper, screen) is another's work.
    """

    def __init__(self, keypad: Keypad, handler: Handler) -> None:
        self.pressed = 0
        self.refused = 0
        self._keypad = keypad
        self._handler = handler
        self._waiting: asyncio.Queue[str] = asyncio.Queue(MAX_WAITING)
        keypad.on_press(self._take)

    def _take(self, key: str) -> None:
        self.pressed += 1
        try:
            self._waiting.put_nowait(key)
        except asyncio.QueueFull:
            self._refuse()

    async def run(self) -> None:
        """Answer presses until cancelled."""
        while True:
            key = await self._waiting.get()
            try:
                outcome = await self._handler(key)
            except Exception:  # a bug must not leave the next customer without an answer
                log.exception("%s: the press of %s failed", self._keypad.id, key)
                outcome = Refusal(reason=RefusalReason.INTERNAL_ERROR, command=key)
            if isinstance(outcome, Refusal):
                self._refuse()
            else:
                self._keypad.set_lamp(ACCEPTED, LampPattern.FLASH)

    def _refuse(self) -> None:
        self.refused += 1
        self._keypad.set_lamp(REFUSED, LampPattern.FLASH)

"""What came from the broker and could not be taken: kept aside in the journal, with the reason."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from edge.clock import Clock
from edge.journal.errors import JournalError
from edge.journal.journal import DeadLetter
from edge.words import plain

log = logging.getLogger(__name__)

WRITTEN_EVERY_SECONDS = 30.0
"""A flood of rubbish must neither wear out the card nor hold up what is good."""
MAX_UNWRITTEN = 100
"""Of a flood that comes meanwhile, the first are kept and the others counted."""
MAX_PAYLOAD_BYTES = 4096
MAX_TOPIC_CHARACTERS = 200
MAX_REASON_CHARACTERS = 500


class DeadLetterFile(Protocol):
    """What is needed of a journal: see ``edge.journal.Journal``."""

    async def keep_dead_letters(self, letters: Sequence[DeadLetter]) -> None: ...


class DeadLetters:
    """Takes them at once and writes several together; ``run`` writes until it is cancelled."""

    def __init__(self, file: DeadLetterFile, clock: Clock) -> None:
        self.counters: Counter[str] = Counter()
        """Since the start: ``dead_letters``, and ``dead_letters_dropped`` for want of room."""
        self._file = file
        self._clock = clock
        self._unwritten: list[DeadLetter] = []
        self._some = asyncio.Event()

    def put(self, topic: str, payload: bytes, reason: str) -> None:
        """Keep the beginning of it. Never blocks, never raises."""
        self.counters["dead_letters"] += 1
        if len(self._unwritten) >= MAX_UNWRITTEN:
            self.counters["dead_letters_dropped"] += 1
            return
        self._unwritten.append(
            DeadLetter(
                received_at=self._clock.now().wall,
                topic=plain(topic)[:MAX_TOPIC_CHARACTERS],
                reason=plain(reason)[:MAX_REASON_CHARACTERS],
                payload=payload[:MAX_PAYLOAD_BYTES],
            )
        )
        self._some.set()

    async def run(self) -> None:
        """The first is written at once, those that follow are together."""
        while True:
            await self._some.wait()
            await self.write()
            await asyncio.sleep(WRITTEN_EVERY_SECONDS)

    async def write(self) -> None:
        """Write what is there; what can't be written now waits for the next time. Cancelled in
        between, it may write some of them again."""
        letters = list(self._unwritten)
        if not letters:
            return
        try:
            await self._file.keep_dead_letters(letters)
        except JournalError as error:
            log.warning("dead letters can't be kept now, they are tried again: %s", error)
            return
        del self._unwritten[: len(letters)]
        if not self._unwritten:
            self._some.clear()

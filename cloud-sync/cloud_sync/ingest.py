"""From the broker to the store, and the answer back to the halls.

Messages are read as fast as they come, committed in groups, and only then acknowledged: an
acknowledgement says "everything of this epoch up to here is on this disk". It is cumulative and is
given for duplicates too, since a duplicate means that the hall has missed the answer.
"""

import asyncio
import logging
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from random import Random

from cloud_sync.reading import DeadLetter, Received, dead_letter, read_events, read_state
from cloud_sync.seldom import MAX_SENDERS, Seldom
from cloud_sync.store import Committed, Position, Store
from contract import topics
from contract.documents import Ack, HallReport
from messaging.session import Backoff, Message, PublishRefused, Session

log = logging.getLogger(__name__)

GROUP_EVENTS = 500
"""Committed together at most."""
PENDING_EVENTS = 5_000
"""Read ahead of the commit at most; then the broker waits."""
PENDING_BYTES = 16 * 1024 * 1024
"""Likewise; one message may go beyond it."""
MAX_EPOCHS = 10
EPOCHS_SECONDS = 3600.0
"""So many epochs of one hall begin within this. Those that are known go on."""
GAP_PATIENCE_SECONDS = 1.0
GAP_CEILING_SECONDS = 30.0
ACKS_AT_ONCE = 20


@dataclass(slots=True)
class _Gap:
    epoch: str
    since_seq: int
    ask_at: float
    backoff: Backoff


class Gaps:
    """Which halls have skipped something in their present epoch, and when to ask for it. Pure.

    Live events overtake the backlog, so a gap is normal while it is being filled: only one that
    has not moved for a while is asked for, ever more seldom. An epoch that a hall has left can't
    be filled any more: it is not asked for.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._gaps: dict[str, _Gap] = {}
        self._stated: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._gaps)

    def hall_is_at(self, hall: str, epoch: str) -> None:
        """The hall says which epoch is its present one."""
        self._stated[hall] = epoch
        gap = self._gaps.get(hall)
        if gap is not None and gap.epoch != epoch:
            del self._gaps[hall]

    def has_left(self, hall: str, epoch: str) -> bool:
        """Whether the hall has said that it is in another epoch than this."""
        return self._stated.get(hall, epoch) != epoch

    def forget(self, hall: str) -> None:
        """It is out of service: nobody answers."""
        self._gaps.pop(hall, None)

    def note(self, position: Position, now: float) -> None:
        """A stream has come to ``position``. ``now``: seconds of any steady clock."""
        hall, epoch = position.hall, position.epoch
        if self.has_left(hall, epoch):
            return
        if position.contiguous >= position.highest:
            self._gaps.pop(hall, None)
            return
        gap = self._gaps.get(hall)
        if gap is None or (gap.epoch, gap.since_seq) != (epoch, position.contiguous):
            backoff = Backoff(self._random, 2 * GAP_PATIENCE_SECONDS, GAP_CEILING_SECONDS)
            ask_at = now + GAP_PATIENCE_SECONDS
            self._gaps[hall] = _Gap(epoch, position.contiguous, ask_at, backoff)

    def due(self, now: float) -> list[tuple[str, Ack]]:
        """What to ask for now: (hall, acknowledgement with ``resend``)."""
        asks = []
        for hall, gap in self._gaps.items():
            if now >= gap.ask_at:
                gap.ask_at = now + gap.backoff.next_delay()
                asks.append((hall, Ack(epoch=gap.epoch, seq=gap.since_seq, resend=True)))
        return asks


class Epochs:
    """Which epochs may begin: so many of one hall at a time. Pure.

    A journal begins one when it is new, salvaged or an old copy that was put back: some in a year.
    Each costs the centre for ever, so a hall that makes them up is not listened to. Of what is
    passed over nothing is acknowledged: whoever has it sends it again, and in an hour it is taken.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """``monotonic``: seconds of any steady clock."""
        self._monotonic = monotonic
        self._taken: dict[str, dict[str, float]] = {}

    def may_begin(self, hall: str, epoch: str) -> bool:
        """Of one that is not known. Asked again, as when a commit failed, it says the same."""
        now = self._monotonic()
        taken = self._taken.get(hall)
        if taken is None:
            if len(self._taken) >= MAX_SENDERS:  # names that somebody makes up
                self._taken.clear()
            taken = self._taken[hall] = {}
        if epoch in taken:
            return True
        if len(taken) >= MAX_EPOCHS:
            oldest = next(iter(taken))
            if now - taken[oldest] < EPOCHS_SECONDS:
                return False
            del taken[oldest]
        taken[epoch] = now
        return True


class Answers:
    """Acknowledgements that wait to be sent: the newest per stream."""

    def __init__(self, has_left: Callable[[str, str], bool]) -> None:
        """``has_left(hall, epoch)``: an answer for such an epoch is not retained, so that the one
        for the present epoch stays."""
        self._has_left = has_left
        self._waiting: dict[tuple[str, str], Ack] = {}
        self._some = asyncio.Event()

    def put(self, hall: str, ack: Ack) -> None:
        key = (hall, ack.epoch)
        before = self._waiting.pop(key, None)
        if before is not None and before.resend and before.seq == ack.seq:
            ack = ack.model_copy(update={"resend": True})
        self._waiting[key] = ack
        self._some.set()

    async def send(self, session: Session) -> None:
        """Send what comes, until the session is lost."""
        while True:
            await self._some.wait()
            waiting, self._waiting = self._waiting, {}
            self._some.clear()
            pairs = [(hall, ack) for (hall, _), ack in waiting.items()]
            for start in range(0, len(pairs), ACKS_AT_ONCE):
                async with asyncio.TaskGroup() as group:
                    for hall, ack in pairs[start : start + ACKS_AT_ONCE]:
                        retain = not self._has_left(hall, ack.epoch)
                        group.create_task(_send_ack(session, hall, ack, retain=retain))


async def _send_ack(session: Session, hall: str, ack: Ack, *, retain: bool) -> None:
    try:
        await session.publish(topics.ack(hall), ack.model_dump_json().encode(), retain=retain)
    except PublishRefused as refused:
        log.error("the broker does not let us acknowledge: %s", refused)


class Ingest:
    """Everything that halls send. One ``run`` per session; ``commit_all`` runs for ever."""

    def __init__(
        self,
        store: Store,
        *,
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
        random: Random,
        on_state: Callable[[HallReport, bool], None],
        on_commit: Callable[[Iterable[str]], None],
        on_retired: Callable[[str], None],
    ) -> None:
        """``on_state(state, retained)`` for each state document; ``on_commit(halls)`` with the
        halls of which something is new in the store; ``on_retired(hall)`` when one is out of
        service."""
        self._store = store
        self._monotonic = monotonic
        self._now = now
        self._on_state = on_state
        self._on_commit = on_commit
        self._on_retired = on_retired
        self._gaps = Gaps(random)
        self._epochs = Epochs(monotonic)
        self._retry = Backoff(random)
        self._answers = Answers(self._gaps.has_left)
        self._heard: dict[str, str] = {}
        """The epoch of each hall that we know how much we have of, in this session."""
        self._stated: dict[str, HallReport] = {}
        """Of halls that say that they are in another."""
        self._events: list[Received] = []
        self._dead_letters: list[DeadLetter] = []
        self._pending_bytes = 0
        self._retired: set[str] = set()
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._seldom = Seldom()
        self.counters: Counter[str] = Counter()
        """Since the start: events, duplicates, faults, unknown_types, dead_letters, resends …"""

    async def run(self, session: Session, listening: Callable[[], None]) -> None:
        """Serve this session until it is lost (raises ``SessionLost`` in a group).

        ``listening`` is called once nothing that halls send can pass us by, and the store was read.
        """
        await session.subscribe(topics.EVENTS_OF_ALL, topics.BACKLOG_OF_ALL, topics.STATES_OF_ALL)
        # Whatever was in the broker when it or we went down is gone: ask everybody.
        self._heard.clear()
        self._stated.clear()
        for position in await self._store.positions():
            self._heard[position.hall] = position.epoch
            if self._gaps.has_left(position.hall, position.epoch):
                continue
            self._gaps.note(position, self._monotonic())
            ack = Ack(epoch=position.epoch, seq=position.contiguous, resend=True)
            self._answers.put(position.hall, ack)
        listening()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read(session))
            tasks.create_task(self._answers.send(session))
            tasks.create_task(self._ask_for_gaps())

    async def _read(self, session: Session) -> None:
        async for message in session.messages():
            await self._room.wait()
            self._take(message)
            await asyncio.sleep(0)  # what is here already comes without giving way

    def _take(self, message: Message) -> None:
        if message.topic.endswith("/state"):
            self._take_state(message)
        else:
            reading = read_events(message.topic, message.payload)
            self._retired.difference_update(event.hall for event in reading.events)
            self._events += reading.events
            self._dead_letters += reading.dead_letters
            for event in reading.events:
                if event.fault is not None:
                    self.counters["faults"] += 1
                    self._seldom.say(
                        logging.WARNING, event.hall, f"event {event.seq}: {event.fault}"
                    )
                elif event.event is None:
                    self.counters["unknown_types"] += 1
            self._pending_bytes += _size(reading.events, reading.dead_letters)
        if self._is_full():
            self._room.clear()
        self._some.set()

    def _is_full(self) -> bool:
        pending = max(len(self._events), len(self._dead_letters))
        return pending >= PENDING_EVENTS or self._pending_bytes >= PENDING_BYTES

    def _take_state(self, message: Message) -> None:
        if not message.payload:
            # It was deleted: the hall is taken out of service, once what it sent is committed.
            if (hall := topics.hall_of(message.topic)) is not None:
                self._retired.add(hall)
            return
        state = read_state(message.topic, message.payload)
        if isinstance(state, DeadLetter):
            self._dead_letters.append(state)
            self._pending_bytes += _size([], [state])
        else:
            self._retired.discard(state.hall)
            if state.epoch is not None:
                self._gaps.hall_is_at(state.hall, state.epoch)
                if self._heard.get(state.hall) != state.epoch:
                    self._stated[state.hall] = state
            self._on_state(state, message.retain)

    async def commit_all(self) -> None:
        """Commit what was read, in groups; while one is written the next one gathers.

        A database that fails is tried again and again: nothing is acknowledged meanwhile.
        """
        while True:
            await self._some.wait()
            events, self._events = self._events[:GROUP_EVENTS], self._events[GROUP_EVENTS:]
            dead_letters, self._dead_letters = self._dead_letters, []
            if not self._events:
                self._some.clear()
            if events or dead_letters:
                self._pending_bytes -= _size(events, dead_letters)
                if not self._is_full():
                    self._room.set()
                self._answer(await self._commit(events, dead_letters))
            while self._retired and not self._events:
                await self._retire(self._retired.pop())

    async def _retire(self, hall: str) -> None:
        while True:
            try:
                await self._store.retire(hall)
            except sqlite3.Error as error:
                await self._database_failed(error)
            else:
                self._gaps.forget(hall)
                log.warning("%s is taken out of service", hall)
                self._on_retired(hall)
                return

    async def _commit(self, events: list[Received], dead_letters: list[DeadLetter]) -> Committed:
        """Commit all of it, whatever is in it: what is at fault is kept with its fault."""
        committed = Committed((), 0, 0)
        waiting = [(events, dead_letters)]
        while waiting:
            some, letters = waiting.pop()
            try:
                committed += await self._commit_together(some, letters)
            except MemoryError:
                raise  # of this machine, now, and of no event
            except Exception as error:  # noqa: BLE001 - one hall's event must not end the others
                self.counters["commits_divided"] += 1
                waiting += self._divide(some, letters, error)
        return committed

    def _divide(
        self, events: list[Received], dead_letters: list[DeadLetter], error: Exception
    ) -> list[tuple[list[Received], list[DeadLetter]]]:
        """Where the store choked on a group: the parts of it to be tried apart, last one first."""
        if len(events) > 1 or (events and dead_letters):
            half = len(events) // 2
            return [(events[half:], []), (events[:half], dead_letters)]
        if not events:
            self.counters["dead_letters_dropped"] += len(dead_letters)
            log.critical("dead letters can't be kept, they are dropped: %r", error)
            return []
        (event,) = events
        name = f"event {event.seq} of {event.epoch} of {event.hall}"
        self.counters["faults"] += 1
        if event.fault is None:
            log.critical("%s can't be taken in, it is kept as it came", name, exc_info=error)
            fault = f"could not be taken in: {type(error).__name__}"
            return [([replace(event, event=None, subject="", fault=fault)], [])]
        log.critical("%s can't even be kept, it is a dead letter", name, exc_info=error)
        topic = topics.events(event.hall)
        return [([], [dead_letter(topic, event.body.encode(), f"can't be kept: {error!r}")])]

    async def _commit_together(
        self, events: list[Received], dead_letters: list[DeadLetter]
    ) -> Committed:
        """In one transaction, tried again for as long as the database fails."""
        while True:
            try:
                committed = await self._store.commit(
                    events, dead_letters, self._now().isoformat(), self._epochs.may_begin
                )
            except (sqlite3.IntegrityError, sqlite3.DataError):
                raise  # what was to be written, not the database
            except sqlite3.Error as error:
                await self._database_failed(error)
            else:
                self._retry.reset()
                self.counters["events"] += committed.inserted
                self.counters["duplicates"] += committed.duplicates
                self.counters["conflicts"] += len(committed.conflicts)
                self.counters["dead_letters"] += len(dead_letters) + len(committed.conflicts)
                self.counters["commits"] += 1
                self._tell_conflicts(committed.conflicts)
                self._tell_refused(committed.refused)
                for letter in dead_letters:
                    self._seldom.say(logging.WARNING, letter.topic, f"dead letter: {letter.reason}")
                return committed

    def _tell_conflicts(self, conflicts: Sequence[Received]) -> None:
        """One sentence per stream: there may be thousands."""
        streams: dict[tuple[str, str], list[int]] = defaultdict(list)
        for event in conflicts:
            streams[event.hall, event.epoch].append(event.seq)
        for (hall, epoch), seqs in streams.items():
            self._seldom.say(
                logging.CRITICAL,
                hall,
                f"sends other events than before under the same numbers ({len(seqs)} of them in "
                f"{min(seqs)}..{max(seqs)} of {epoch}); they are dead letters. Was its journal "
                "restored from an old copy?",
            )

    def _tell_refused(self, refused: Sequence[Received]) -> None:
        self.counters["epochs_refused"] += len(refused)
        for hall in dict.fromkeys(event.hall for event in refused):
            self._seldom.say(
                logging.ERROR,
                hall,
                f"more than {MAX_EPOCHS} epochs within an hour, what is beyond is not taken. Is "
                "its journal made anew at every start, or does something else send in its name?",
            )

    async def _database_failed(self, error: sqlite3.Error) -> None:
        """Return when it is time to try again."""
        self.counters["database_errors"] += 1
        log.critical("nothing is acknowledged: %s", self._store.explain(error))
        await asyncio.sleep(self._retry.next_delay())

    def _answer(self, committed: Committed) -> None:
        now = self._monotonic()
        for position in committed.positions:
            self._gaps.note(position, now)
            if not self._gaps.has_left(position.hall, position.epoch):
                self._heard[position.hall] = position.epoch
                self._stated.pop(position.hall, None)
            self._answers.put(position.hall, Ack(epoch=position.epoch, seq=position.contiguous))
        self._on_commit([position.hall for position in committed.positions])

    async def _ask_for_gaps(self) -> None:
        while True:
            await asyncio.sleep(GAP_PATIENCE_SECONDS / 4)
            for hall, ack in self._gaps.due(self._monotonic()):
                self.counters["resends"] += 1
                log.info("%s: asking again from seq %d of %s", hall, ack.seq + 1, ack.epoch)
                self._answers.put(hall, ack)
            await self._ask_for_epochs()

    async def _ask_for_epochs(self) -> None:
        """A hall that believes that we have all of its epoch sends nothing before something
        happens there. Our database may be an old copy, which never heard of it."""
        while self._stated:
            hall, state = self._stated.popitem()
            assert state.epoch is not None
            position = await self._store.position(hall, state.epoch)
            if self._heard.get(hall) == state.epoch:
                continue  # it has just sent something, and was answered
            self._heard[hall] = state.epoch
            if position.contiguous < state.head:
                ack = Ack(epoch=state.epoch, seq=position.contiguous, resend=True)
                self._answers.put(hall, ack)


def _size(events: Sequence[Received], dead_letters: Sequence[DeadLetter]) -> int:
    """In bytes, or nearly."""
    return sum(len(each.body) for each in events) + sum(len(each.payload) for each in dead_letters)

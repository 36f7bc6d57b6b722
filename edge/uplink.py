"""Journal to centre: every event arrives, whatever the network, the broker and the centre do.

The journal is the queue; nothing is kept here but cursors (``edge.outbox``). A broker's
confirmation says nothing about the centre: only the centre's ``Ack`` moves the journal's cursor.
Each connection sends live events, those that happened since it was made, at once and one by one;
and the backlog, everything from the cursor to where live began, in batches, giving way to live.
Events may arrive twice or out of order; the centre tells them by (hall, epoch, seq).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Protocol

from contract import topics
from contract.commands import RefusalReason
from contract.documents import Ack, HallReport
from contract.names import Epoch, HallId, Presence
from edge.central import CentralCommands, Malformed, Submit, read_document
from edge.clock import Clock
from edge.dead_letters import DeadLetterFile, DeadLetters
from edge.journal.errors import JournalError
from edge.outbox import Answer, BatchSize, Outbox, Pace
from edge.words import counted
from messaging.session import (
    Backoff,
    BrokerUnreachable,
    ConnectRefused,
    Message,
    MqttConfig,
    PublishRefused,
    Session,
    SessionLost,
    SubscribeRefused,
    Will,
    connect,
)
from messaging.trouble import Trouble, explained

log = logging.getLogger(__name__)

MAX_ACK_BYTES = 1024
BATCHES_IN_FLIGHT = 2
"""A slow line must not be full of backlog when a live event wants to go."""
LIVE_IN_FLIGHT = 15
STATE_AT_MOST_EVERY_SECONDS = 0.25
GOODBYE_SECONDS = 2.0
STEADY_AFTER_SECONDS = 10.0
"""A connection that lived so long was a good one, even if the centre had nothing to confirm: the
next attempt does not wait long."""
JOURNAL_RETRY_SECONDS = 30.0
NEW_EPOCH_AT_MOST_EVERY_SECONDS = 3600.0


class EventSource(DeadLetterFile, Protocol):
    """What the uplink needs of a journal: see ``edge.journal.Journal``."""

    epoch: Epoch

    @property
    def head(self) -> int: ...

    @property
    def acked(self) -> int: ...

    async def read(self, after: int, limit: int) -> list[tuple[int, str]]: ...

    async def save_acked(self, seq: int) -> None: ...

    async def unsettle(self, lost_events: int) -> None: ...

    async def start_new_epoch(self) -> Epoch: ...


class CopyPutBack(Protocol):
    """What the hall does about a journal that the centre has found to be an old copy."""

    async def leave_out_numbers(self) -> bool:
        """Whether it is done."""
        ...

    async def settle(self) -> None:
        """A new epoch has begun, too. Raises ``JournalError``."""
        ...


class Uplink:
    """The hall's way to the centre. ``run`` works until it is cancelled; ``notify`` wakes it."""

    def __init__(
        self,
        *,
        hall: HallId,
        journal: EventSource,
        mqtt: MqttConfig,
        state_document: Callable[[], HallReport],
        submit: Submit,
        old_copy: CopyPutBack,
        clock: Clock,
        random: Random,
        heartbeat_seconds: float = 15.0,
        pace: Pace | None = None,
    ) -> None:
        self._hall = hall
        self._journal = journal
        self._mqtt = mqtt
        self._old_copy = old_copy
        self._state_document = state_document
        self._heartbeat_seconds = heartbeat_seconds
        self._pace = pace or Pace()
        self._backoff = Backoff(random)
        self._commands = CentralCommands(submit, clock)
        self._dead_letters = DeadLetters(journal, clock)
        self._counts: Counter[str] = Counter()
        self._outbox = self._new_outbox(perhaps_sent=journal.head)
        self._batch_size = BatchSize()
        self._new_epoch_at: float | None = None
        self._epochs_left: set[Epoch] = set()
        self._discovery: _JournalIsOldCopy | None = None
        """What is not done yet about this: nothing is sent meanwhile. Under the epoch that is to
        end, the centre's answers would be about the events of another history."""
        self._trouble = Trouble(
            lambda text: log.warning("no way to the centre, events wait in the journal: %s", text)
        )
        self._rival = Trouble(log.critical)
        self._connection: _Connection | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the broker, and the hall's state is announced there."""
        return self._connection is not None

    def notify(self) -> None:
        """There are new events, or the state document has changed."""
        if self._connection is not None:
            self._connection.wake()

    def counters(self) -> dict[str, int]:
        """How it went since the start, for the state document."""
        counts = self._counts + self._dead_letters.counters
        counts += Counter(
            resends=self._outbox.resends,
            commands_accepted=self._commands.accepted,
        )
        return {f"uplink_{name}": count for name, count in counts.items()}

    async def run(self) -> None:
        """Connect, converse, and connect again, until cancelled; then say goodbye."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                if self._discovery is None:
                    await self._converse_until_cancelled()
                else:
                    await self._leave_epoch(self._discovery)
            except _JournalIsOldCopy as discovery:
                await self._leave_epoch(discovery)
            except (SessionLost, SubscribeRefused) as error:
                self._note_trouble(error)
            if loop.time() - began >= STEADY_AFTER_SECONDS:
                self._backoff.reset()
            await asyncio.sleep(self._backoff.next_delay())

    async def _converse_until_cancelled(self) -> None:
        """In a task of its own: a connection that breaks in the instant in which we are cancelled
        would hide that from us, as task groups do before Python 3.13."""
        conversation = asyncio.create_task(self._converse())
        try:
            await asyncio.shield(conversation)
        except asyncio.CancelledError:
            conversation.cancel()
            await asyncio.gather(conversation, return_exceptions=True)
            raise

    def _note_trouble(self, error: SessionLost | SubscribeRefused) -> None:
        self._counts[_COUNTER_OF[type(error)]] += 1
        self._trouble.note(explained(error, self._mqtt, "uplink"))

    async def _converse(self) -> None:
        """One connection, from beginning to end."""
        lost = HallReport(hall=self._hall, presence=Presence.LOST)
        will = Will(topics.state(self._hall), lost.model_dump_json().encode())
        ended_by: BaseException | None = None
        async with connect(self._mqtt, will) as session:
            self._counts["connects"] += 1
            try:
                await self._serve(session)
            except asyncio.CancelledError as cancelled:
                # In a task of its own: until Python 3.11.5, time-outs within one that is cancelled
                # end as cancellations.
                await asyncio.shield(asyncio.create_task(self._say_stopped(session)))
                ended_by = cancelled
            except _JournalIsOldCopy as discovery:
                ended_by = discovery
            finally:
                self._connection = None
                await self._dead_letters.write()
        if ended_by is not None:
            raise ended_by

    async def _serve(self, session: Session) -> None:
        await session.subscribe(topics.ack(self._hall), topics.commands(self._hall))
        await self._publish_state(session, Presence.ONLINE)  # the birth
        behind = self._journal.head - self._journal.acked
        log.info(
            "connected to %s, the centre is %s behind", self._mqtt.host, counted(behind, "event")
        )
        self._trouble.over()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._connection = _Connection(
                    hall=self._hall,
                    journal=self._journal,
                    session=session,
                    outbox=self._outbox,
                    batch_size=self._batch_size,
                    counts=self._counts,
                    tasks=tasks,
                )
                tasks.create_task(self._listen(session, self._connection))
                tasks.create_task(self._keep_state(session, self._connection))
                tasks.create_task(self._dead_letters.run())
                tasks.create_task(self._connection.send_live())
                tasks.create_task(self._connection.send_backlog())
                tasks.create_task(self._connection.resend_when_due())
        except BaseExceptionGroup as group:
            raise _first_of(group) from group

    # --- the state document -----------------------------------------------------------------

    async def _keep_state(self, session: Session, connection: "_Connection") -> None:
        """Publish the state document when it changes, and as heartbeat."""
        while True:
            try:
                async with asyncio.timeout(self._heartbeat_seconds):
                    await connection.news.wait()
            except TimeoutError:
                pass  # time for a heartbeat
            connection.news.clear()
            await self._publish_state(session, Presence.ONLINE)
            await asyncio.sleep(STATE_AT_MOST_EVERY_SECONDS)

    async def _publish_state(self, session: Session, presence: Presence) -> None:
        document = self._state_document().model_copy(update={"presence": presence})
        payload = document.model_dump_json().encode()
        try:
            await session.publish(topics.state(self._hall), payload, retain=True)
        except PublishRefused as refused:
            _count(self._counts, "publishes_refused", str(refused))

    async def _say_stopped(self, session: Session) -> None:
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._publish_state(session, Presence.STOPPED)
        except (SessionLost, TimeoutError) as error:
            log.info("stopped without a goodbye to the centre: %r", error)

    # --- what the centre says ---------------------------------------------------------------

    async def _listen(self, session: Session, connection: "_Connection") -> None:
        ack_topic = topics.ack(self._hall)
        command_prefix = topics.command(self._hall, "")
        async for message in session.messages():
            if message.topic == ack_topic:
                await self._on_ack(message, connection)
            elif message.topic.startswith(command_prefix):
                await self._on_command(message, session, command_prefix)
            else:
                self._set_aside(message, "messages_unexpected", "nothing is expected on this topic")

    def _set_aside(self, message: Message, counter: str, reason: str) -> None:
        """It can't be taken: kept as a dead letter, and what comes behind it goes on."""
        _count(self._counts, counter, f"{message.topic[:100]!r}: {reason}")
        self._dead_letters.put(message.topic, message.payload, reason)

    async def _on_ack(self, message: Message, connection: "_Connection") -> None:
        try:
            ack = read_document(Ack, message.payload, MAX_ACK_BYTES)
        except Malformed as malformed:
            self._set_aside(message, "acks_malformed", str(malformed))
            return
        if ack.epoch != self._journal.epoch:
            self._on_ack_of_another_epoch(ack, retained=message.retain)
        else:
            await self._on_ack_of_ours(ack, connection, retained=message.retain)

    def _on_ack_of_another_epoch(self, ack: Ack, *, retained: bool) -> None:
        """What the broker kept, or a centre asks for at its start, may be of this hall's past.
        Otherwise the centre has events of that epoch from somebody just now."""
        if retained or ack.resend or ack.epoch in self._epochs_left:
            _count(self._counts, "acks_of_another_epoch", ack.epoch)
            return
        self._counts["acks_of_another_epoch"] += 1
        self._rival.note(
            f"another controller is sending as hall {self._hall}: the centre confirms events of "
            f"epoch {ack.epoch}, the epoch of this journal is {self._journal.epoch}. Stop one of "
            "the two, or give it a hall id and a user at the broker of its own. (Had this hall "
            "another journal a minute ago, it may be that one's last events.)"
        )

    async def _on_ack_of_ours(self, ack: Ack, connection: "_Connection", *, retained: bool) -> None:
        now = asyncio.get_running_loop().time()
        answer = self._outbox.ack(ack.seq, resend=ack.resend, retained=retained, now=now)
        if answer is Answer.IMPOSSIBLE:
            _count(self._counts, "acks_impossible", f"{ack}, our head is {self._journal.head}")
            if self._may_begin_new_epoch(now):
                raise _JournalIsOldCopy(ack.seq)
            return
        connection.ring()
        if answer is Answer.PROGRESS:
            self._backoff.reset()
            try:
                await self._journal.save_acked(ack.seq)
            except JournalError as error:  # it is known in memory, and written later
                _count(self._counts, "journal_errors", str(error))

    async def _on_command(self, message: Message, session: Session, prefix: str) -> None:
        command_id = message.topic.removeprefix(prefix)
        reply = await self._commands.answer(command_id, message.payload, retained=message.retain)
        if reply is None:
            self._set_aside(message, "commands_malformed", "its id, in the topic, is no ULID")
            return
        if reply.refusal is not None:
            _count(self._counts, "commands_refused", f"{command_id}: {reply.refusal}")
            if reply.refusal.reason is RefusalReason.MALFORMED:
                self._set_aside(message, "commands_malformed", reply.refusal.detail)
        try:
            await session.publish(
                topics.reply(self._hall, command_id), reply.model_dump_json().encode()
            )
        except PublishRefused as refused:
            _count(self._counts, "publishes_refused", str(refused))

    # --- epochs -----------------------------------------------------------------------------

    def _may_begin_new_epoch(self, now: float) -> bool:
        """Once in a while: a centre that errs must not have the journal renumbered for ever."""
        earlier = self._new_epoch_at
        return earlier is None or now - earlier >= NEW_EPOCH_AT_MOST_EVERY_SECONDS

    async def _leave_epoch(self, discovery: "_JournalIsOldCopy") -> None:
        """The centre knows events of our epoch that we don't: they are another history's."""
        self._discovery = discovery
        try:
            await self._begin_new_epoch(discovery)
        except JournalError as error:  # tried again, or by the next start
            _count(self._counts, "journal_errors", str(error))

    async def _begin_new_epoch(self, discovery: "_JournalIsOldCopy") -> None:
        # First of all, so that a start goes on from here, whatever ends this.
        await self._journal.unsettle(max(0, discovery.seq - self._journal.acked))
        if not await self._old_copy.leave_out_numbers():
            return
        self._epochs_left.add(self._journal.epoch)
        await self._journal.start_new_epoch()
        self._discovery = None
        log.critical(
            "%s. What the centre has not confirmed of this journal goes there under a new epoch; "
            "what happened between the copy and its return, the centre alone knows",
            discovery,
        )
        self._counts["new_epochs"] += 1
        self._new_epoch_at = asyncio.get_running_loop().time()
        self._outbox = self._new_outbox(perhaps_sent=0)
        await self._old_copy.settle()

    def _new_outbox(self, perhaps_sent: int) -> Outbox:
        return Outbox(acked=self._journal.acked, perhaps_sent=perhaps_sent, pace=self._pace)


class _Connection:
    """Sends events over one session."""

    def __init__(
        self,
        *,
        hall: HallId,
        journal: EventSource,
        session: Session,
        outbox: Outbox,
        batch_size: BatchSize,
        counts: Counter[str],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.news = asyncio.Event()
        """Set by ``wake``, for whoever publishes the state."""
        self._journal = journal
        self._session = session
        self._outbox = outbox
        self._batch_size = batch_size
        self._counts = counts
        self._tasks = tasks
        self._live_topic = topics.events(hall)
        self._backlog_topic = topics.backlog(hall)
        self._live_lane = asyncio.Semaphore(LIVE_IN_FLIGHT)
        self._backlog_lane = asyncio.Semaphore(BATCHES_IN_FLIGHT)
        self._batches_in_flight = 0
        self._bell = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        outbox.connected(journal.head, self._loop.time())

    def wake(self) -> None:
        """There are new events."""
        self.news.set()
        self.ring()

    def ring(self) -> None:
        """Something has changed: whoever waits looks again."""
        self._bell.set()
        self._bell = asyncio.Event()

    async def send_live(self) -> None:
        while True:
            due = self._outbox.next_live(self._journal.head)
            if due is None:
                await self._bell.wait()
                continue
            rows = await self._read(*due)
            if not rows:
                continue
            self._outbox.live_sent(rows[-1][0], self._loop.time())
            self.ring()
            for _, body in rows:
                await self._live_lane.acquire()
                self._tasks.create_task(self._send_event(body))

    async def _send_event(self, body: str) -> None:
        try:
            await self._publish(self._live_topic, body)
        finally:
            self._live_lane.release()

    async def send_backlog(self) -> None:
        while True:
            due = self._outbox.next_backlog(self._journal.head)
            if due is None:
                await self._bell.wait()
                continue
            rows = await self._read(*due)
            if not rows:
                continue
            batch = _at_most(self._batch_size.bytes, rows)
            if self._outbox.backlog_sent(due[0], rows[len(batch) - 1][0], self._loop.time()):
                self._batches_in_flight += 1
                self.ring()
                await self._backlog_lane.acquire()
                self._tasks.create_task(self._send_batch(batch))

    async def _send_batch(self, batch: list[str]) -> None:
        arrived = False
        try:
            arrived = await self._publish(self._backlog_topic, f"[{','.join(batch)}]")
        finally:
            self._batch_size.note(arrived=arrived)
            self._backlog_lane.release()
        self._batches_in_flight -= 1
        self._outbox.batch_left(self._loop.time())
        self.ring()

    async def _publish(self, topic: str, payload: str) -> bool:
        """Whether the broker took it."""
        try:
            await self._session.publish(topic, payload.encode())
        except PublishRefused as refused:  # as good as lost: it is sent again, ever more rarely
            _count(self._counts, "publishes_refused", str(refused))
            return False
        return True

    async def resend_when_due(self) -> None:
        """Nothing is due while batches are still on their way to the broker, on a slow line."""
        while True:
            due_at = None if self._batches_in_flight else self._outbox.due_at()
            try:
                async with asyncio.timeout_at(due_at):
                    await self._bell.wait()
            except TimeoutError:
                if self._outbox.resend_if_due(self._loop.time()):
                    log.info("sending again from seq %d", self._outbox.confirmed + 1)
                self.ring()

    async def _read(self, after: int, limit: int) -> list[tuple[int, str]]:
        """The events behind ``after``; none, after a while, where they can't be read: this stream
        waits then, and the other goes on."""
        try:
            rows = await self._journal.read(after, limit)
        except JournalError as error:
            problem = str(error)
        else:
            whole = [row for place, row in enumerate(rows, start=after + 1) if row[0] == place]
            if whole:
                return whole
            problem = f"event {after + 1} can't be found"
        _count(self._counts, "journal_errors", problem)
        await asyncio.sleep(JOURNAL_RETRY_SECONDS)
        return []


class _JournalIsOldCopy(Exception):
    """The centre has events of our epoch that we have never sent."""

    def __init__(self, seq: int) -> None:
        super().__init__(
            f"the centre has events up to {seq} of this journal's epoch that were never sent from "
            "here: this journal is an old copy that was put back"
        )
        self.seq = seq


_COUNTER_OF = {
    SessionLost: "connections_lost",
    BrokerUnreachable: "connections_lost",
    ConnectRefused: "connections_refused",
    SubscribeRefused: "subscriptions_refused",
}


def _at_most(size: int, rows: list[tuple[int, str]]) -> list[str]:
    """The first bodies of ``rows`` that fit, in bytes; one at least."""
    batch = [rows[0][1]]
    total = len(batch[0].encode())
    for _, body in rows[1:]:
        total += len(body.encode())
        if total > size:
            break
        batch.append(body)
    return batch


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended the connection: the first of what its tasks raised."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _count(counts: Counter[str], name: str, detail: str) -> None:
    """Count it, and say it ever more rarely: at 1, 2, 4, 8 …"""
    counts[name] += 1
    if counts[name] & (counts[name] - 1) == 0:
        log.warning("%s (%d so far): %s", name.replace("_", " "), counts[name], detail)

"""Which events are to be sent next: cursors over the journal's seqs, and nothing else.

Pure arithmetic: no network, no journal; ``now`` is passed in, in seconds of any monotonic clock.

::

    0 ........ confirmed ........ backlog ........ backlog_end ........ live ........ head
     the centre    sent, not yet     to be sent      where live     sent, not yet   to be
      has these    confirmed         in batches      began          confirmed       sent now
"""

from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True)
class Pace:
    """How much is sent ahead of the centre's confirmation, and when it is sent again."""

    batch_events: int = 100
    unconfirmed_events: int = 2000
    """So many live ones, and so many of the backlog."""
    probe_events: int = 100
    """So many of the backlog while the centre is silent: who does not listen is not told all."""
    resend_after_seconds: float = 5.0
    """Without progress, what is unconfirmed is sent again after this; doubled each time, up to"""
    resend_ceiling_seconds: float = 300.0
    resend_at_most_every_seconds: float = 5.0
    """When the centre asks for it."""


class BatchSize:
    """How many bytes of backlog go into one message: fewer after one that did not get through.

    A line may be too slow to carry a large one before the broker is given up, and a broker may take
    no large ones: sent as it was, it would be lost for ever.
    """

    LARGEST = 64 * 1024
    SMALLEST = 1024
    """Less than most pairs of events; one event is always sent."""

    def __init__(self) -> None:
        self.bytes = self.LARGEST

    def note(self, *, arrived: bool) -> None:
        """Halved by a message that was lost or refused, doubled by one that arrived."""
        wanted = self.bytes * 2 if arrived else self.bytes // 2
        self.bytes = max(self.SMALLEST, min(self.LARGEST, wanted))


class Answer(Enum):
    """What an ack turned out to be."""

    PROGRESS = auto()
    NOTHING_NEW = auto()
    IMPOSSIBLE = auto()
    """The centre has events that this hall has never sent: the journal is an old copy."""


class Outbox:
    """The cursors of one epoch. They outlive connections; ``connected`` begins a new one."""

    def __init__(self, *, acked: int, perhaps_sent: int, pace: Pace) -> None:
        """``perhaps_sent``: up to here an earlier process may have sent events."""
        self.confirmed = acked
        self.resends = 0
        self._pace = pace
        self._perhaps_sent = self._sent_before = perhaps_sent
        self._backlog = self._backlog_end = self._live_from = self._live = acked
        self._allowed = pace.unconfirmed_events
        self._resend_after = pace.resend_after_seconds
        self._waiting_since: float | None = None
        self._begun = 0.0
        self._wanted: tuple[int, float] | None = None
        """The centre asked for what comes behind this seq; to be done at this time."""

    def connected(self, head: int, now: float) -> None:
        """A new connection: what happens from now on is live, the rest is backlog."""
        self._live = head
        self._sent_before = self._perhaps_sent
        self._begin_backlog(now)

    def _begin_backlog(self, now: float) -> None:
        self._backlog = self.confirmed
        self._backlog_end = self._live_from = self._live
        self._waiting_since = None
        self._wanted = None
        self._begun = now

    # --- sending ----------------------------------------------------------------------------

    def next_live(self, head: int) -> tuple[int, int] | None:
        """(behind this seq, at most so many) to be sent now as live events."""
        ahead = self._live - max(self.confirmed, self._live_from)
        room = min(
            self._pace.batch_events, head - self._live, self._pace.unconfirmed_events - ahead
        )
        return (self._live, room) if room > 0 else None

    def next_backlog(self, head: int) -> tuple[int, int] | None:
        """(behind this seq, at most so many) to be sent now as a batch; live events go first."""
        if self._backlog >= self._backlog_end or self.next_live(head) is not None:
            return None
        room = min(
            self._pace.batch_events,
            self._backlog_end - self._backlog,
            self._allowed - (self._backlog - self.confirmed),
        )
        return (self._backlog, room) if room > 0 else None

    def live_sent(self, seq: int, now: float) -> None:
        """Live events up to ``seq`` are on their way."""
        self._live = seq
        self._sent(seq, now)

    def backlog_sent(self, after: int, seq: int, now: float) -> bool:
        """A batch behind ``after`` up to ``seq`` is on its way; ``False``: it is not wanted any
        more, the cursor was moved meanwhile."""
        if after != self._backlog:
            return False
        self._backlog = seq
        self._sent(seq, now)
        return True

    def _sent(self, seq: int, now: float) -> None:
        self._perhaps_sent = max(self._perhaps_sent, seq)
        if self._waiting_since is None:
            self._waiting_since = now

    def batch_left(self, now: float) -> None:
        """The broker has a batch: from here on the centre may be expected to answer."""
        if self._waiting_since is not None:
            self._waiting_since = now

    # --- the centre answers, or does not ----------------------------------------------------

    def ack(self, seq: int, *, resend: bool, now: float, retained: bool = False) -> Answer:
        """The centre keeps everything up to ``seq``, and may ask for what comes behind it.

        ``retained``: it said so before this connection was made.
        """
        if seq > (self._sent_before if retained else self._perhaps_sent):
            return Answer.IMPOSSIBLE
        progress = seq > self.confirmed
        if progress:
            self._confirm(seq, now)
        if resend:
            self._ask(seq, now)
        return Answer.PROGRESS if progress else Answer.NOTHING_NEW

    def _confirm(self, seq: int, now: float) -> None:
        self.confirmed = seq
        self._backlog = max(self._backlog, seq)
        self._resend_after = self._pace.resend_after_seconds
        self._allowed = self._pace.unconfirmed_events
        self._waiting_since = now if self._unconfirmed() else None

    def _unconfirmed(self) -> bool:
        live = self._live if self._live > self._live_from else 0
        return max(self._backlog, live) > self.confirmed

    def _ask(self, seq: int, now: float) -> None:
        self._allowed = self._pace.unconfirmed_events
        if seq < self.confirmed:  # the centre has lost some: it was restored, too
            self.confirmed = seq
        elif self._backlog <= seq < self._backlog_end:
            return  # it will come anyway
        if self._wanted is None and seq < self._live:
            self._wanted = (seq, max(now, self._begun + self._pace.resend_at_most_every_seconds))

    def due_at(self) -> float | None:
        """When ``resend_if_due`` is to be called next."""
        silence = None if self._waiting_since is None else self._waiting_since + self._resend_after
        asked = None if self._wanted is None else self._wanted[1]
        return min((time for time in (silence, asked) if time is not None), default=None)

    def resend_if_due(self, now: float) -> bool:
        """Begin again behind what is confirmed, if it is time; whether it was."""
        if self._wanted is not None and now >= self._wanted[1]:
            seq, self._wanted = self._wanted[0], None
            if self.confirmed <= seq:
                return self._resend(now)
        if self._waiting_since is not None and now >= self._waiting_since + self._resend_after:
            self._resend_after = min(self._resend_after * 2, self._pace.resend_ceiling_seconds)
            self._allowed = self._pace.probe_events
            return self._resend(now)
        return False

    def _resend(self, now: float) -> bool:
        self.resends += 1
        self._begin_backlog(now)
        return True

"""The uplink's cursors: nothing is forgotten, and nobody is flooded."""

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.outbox import Answer, Outbox, Pace

PACE = Pace(batch_events=10, unconfirmed_events=30, probe_events=10)


def outbox(acked: int = 0, head: int = 0, perhaps_sent: int | None = None) -> Outbox:
    box = Outbox(
        acked=acked, perhaps_sent=head if perhaps_sent is None else perhaps_sent, pace=PACE
    )
    box.connected(head, now=0.0)
    return box


def send_backlog(box: Outbox, head: int, now: float = 0.0) -> list[tuple[int, int]]:
    """All batches that may be sent now: (behind, up to)."""
    sent = []
    while (due := box.next_backlog(head)) is not None:
        after, limit = due
        assert box.backlog_sent(after, after + limit, now)
        sent.append((after, after + limit))
    return sent


def test_with_nothing_to_send_nothing_is_due() -> None:
    box = outbox(acked=5, head=5)
    assert box.next_live(5) is None
    assert box.next_backlog(5) is None
    assert box.due_at() is None


def test_what_was_there_at_the_connection_is_backlog_and_what_comes_is_live() -> None:
    box = outbox(acked=2, head=5)
    assert box.next_live(5) is None
    assert box.next_backlog(5) == (2, 3)
    assert box.next_live(7) == (5, 2)


def test_live_goes_first() -> None:
    box = outbox(acked=0, head=5)
    assert box.next_backlog(6) is None
    box.live_sent(6, now=0.0)
    assert box.next_backlog(6) == (0, 5)


def test_no_more_is_sent_ahead_of_the_centre_than_allowed() -> None:
    box = outbox(head=100)
    assert send_backlog(box, 100) == [(0, 10), (10, 20), (20, 30)]
    assert box.ack(15, resend=False, now=1.0) is Answer.PROGRESS
    assert send_backlog(box, 100) == [(30, 40), (40, 45)]


def test_live_has_a_bound_of_its_own() -> None:
    box = outbox(head=100)
    send_backlog(box, 100)
    for first in (100, 110, 120):
        assert box.next_live(200) == (first, 10)
        box.live_sent(first + 10, now=0.0)
    assert box.next_live(200) is None


def test_the_backlog_begins_where_the_centre_is_when_it_says_so() -> None:
    box = outbox(acked=0, head=100)
    box.ack(95, resend=False, now=0.0)
    assert send_backlog(box, 100) == [(95, 100)]


def test_silence_sends_a_little_again_and_ever_more_rarely() -> None:
    box = outbox(head=100)
    send_backlog(box, 100, now=0.0)
    now, waits = 0.0, []
    for _ in range(9):
        due = box.due_at()
        assert due is not None
        assert not box.resend_if_due(due - 0.01)
        assert box.resend_if_due(due)
        assert send_backlog(box, 100, now=due) == [(0, 10)]
        waits.append(due - now)
        now = due
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    box.ack(10, resend=False, now=now)
    assert send_backlog(box, 100, now)[-1] == (30, 40)
    assert box.due_at() == now + 5


def test_live_events_that_are_lost_are_sent_again_as_backlog() -> None:
    box = outbox()
    box.live_sent(3, now=0.0)
    assert box.resend_if_due(5.0)
    assert box.next_backlog(3) == (0, 3)
    assert box.next_live(4) == (3, 1)


def test_when_everything_is_confirmed_nothing_is_due() -> None:
    box = outbox(head=5)
    send_backlog(box, 5)
    assert box.due_at() == 5.0
    box.ack(5, resend=False, now=1.0)
    assert box.due_at() is None


def test_on_a_slow_line_the_centre_has_its_time_once_the_broker_has_the_batch() -> None:
    box = outbox(head=5)
    send_backlog(box, 5, now=0.0)
    box.batch_left(now=30.0)
    assert box.due_at() == 35.0


def test_the_centre_may_ask_again_but_not_all_the_time() -> None:
    box = outbox(head=20)
    send_backlog(box, 20, now=0.0)
    box.ack(10, resend=True, now=1.0)
    assert box.due_at() == 5.0
    assert box.resend_if_due(5.0)
    assert send_backlog(box, 20, now=5.0) == [(10, 20)]
    box.ack(10, resend=True, now=20.0)
    assert box.due_at() == 10.0  # long silence was due by then, anyway
    assert box.resend_if_due(20.0)


def test_who_asks_for_what_is_coming_anyway_is_not_sent_it_twice() -> None:
    box = outbox(head=100)
    box.live_sent(101, now=0.0)
    box.ack(0, resend=True, now=0.1)  # a live event has overtaken the backlog
    assert send_backlog(box, 101, now=0.2)[0] == (0, 10)
    assert box.resends == 0


def test_a_wish_that_is_fulfilled_meanwhile_is_forgotten() -> None:
    box = outbox(head=20)
    send_backlog(box, 20, now=0.0)
    box.ack(0, resend=True, now=1.0)
    box.ack(20, resend=False, now=2.0)
    assert not box.resend_if_due(5.0)
    assert box.due_at() is None


def test_a_centre_that_lost_events_gets_them_again() -> None:
    box = outbox(acked=20, head=20)
    assert box.ack(12, resend=True, now=6.0) is Answer.NOTHING_NEW
    assert box.resend_if_due(6.0)
    assert send_backlog(box, 20, now=6.0) == [(12, 20)]


def test_an_ack_of_before_changes_nothing() -> None:
    box = outbox(acked=20, head=20)
    assert box.ack(12, resend=False, now=1.0) is Answer.NOTHING_NEW
    assert box.confirmed == 20


def test_an_ack_of_what_was_never_sent_is_impossible() -> None:
    box = outbox(head=20)
    assert box.ack(21, resend=True, now=0.0) is Answer.IMPOSSIBLE
    assert box.ack(20, resend=False, now=0.0) is Answer.PROGRESS  # by a process before this
    fresh = outbox(head=20, perhaps_sent=0)
    assert fresh.ack(1, resend=False, now=0.0) is Answer.IMPOSSIBLE


def test_what_the_centre_said_before_this_connection_can_not_be_about_what_it_sends() -> None:
    """The hall of an old copy worked on until it had more events than the centre knows."""
    box = outbox(head=100)
    box.connected(160, 0.0)
    box.live_sent(160, 0.0)
    assert box.ack(150, resend=False, retained=True, now=0.0) is Answer.IMPOSSIBLE
    assert box.ack(150, resend=False, now=0.0) is Answer.PROGRESS
    box.connected(160, 1.0)
    assert box.ack(155, resend=False, retained=True, now=1.0) is Answer.PROGRESS


def test_a_batch_that_was_read_before_the_cursor_moved_is_not_sent() -> None:
    box = outbox(head=100)
    after, limit = box.next_backlog(100) or (0, 0)
    box.ack(50, resend=False, now=0.0)
    assert not box.backlog_sent(after, after + limit, now=0.0)
    assert box.next_backlog(100) == (50, 10)


class Centre:
    """Takes events in any order, keeps what is without a gap."""

    def __init__(self) -> None:
        self.have: set[int] = set()

    @property
    def seq(self) -> int:
        seq = 0
        while seq + 1 in self.have:
            seq += 1
        return seq


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_whatever_is_lost_everything_arrives_in_the_end(data: st.DataObject) -> None:
    """Chance loses what is sent, acks, connections and the centre's memory; then it stops."""
    box, centre, head, now = outbox(), Centre(), 0, 0.0
    steps = data.draw(
        st.lists(
            st.sampled_from(["event", "live", "backlog", "lose", "ack", "ask", "time", "connect",
                             "restore"]),
            max_size=60,
        )
    )  # fmt: skip
    for step in steps:
        match step:
            case "event":
                head += data.draw(st.integers(1, 25))
            case "live" | "backlog":
                centre.have.update(_send(box, step, head, now))
            case "lose":
                list(_send(box, data.draw(st.sampled_from(["live", "backlog"])), head, now))
            case "ack" | "ask":
                box.ack(centre.seq, resend=step == "ask", now=now)
            case "time":
                now += data.draw(st.floats(0.1, 400))
                box.resend_if_due(now)
            case "connect":
                box.connected(head, now)
            case "restore":
                centre.have = {seq for seq in centre.have if seq <= centre.seq // 2}
                box.ack(centre.seq, resend=True, now=now)
    for _ in range(400):
        centre.have.update(_send(box, "live", head, now))
        centre.have.update(_send(box, "backlog", head, now))
        box.ack(centre.seq, resend=False, now=now)
        if centre.seq == box.confirmed == head:
            return
        if box.next_live(head) is None and box.next_backlog(head) is None:
            due = box.due_at()
            assert due is not None, "something is missing, and nothing will ever be sent"
            now = max(now, due)
            box.resend_if_due(now)
    raise AssertionError(f"{head} events, the centre has {centre.seq}")


def _send(box: Outbox, which: str, head: int, now: float) -> Iterator[int]:
    due = box.next_live(head) if which == "live" else box.next_backlog(head)
    if due is not None:
        after, limit = due
        last = min(after + limit, head)
        if which == "live":
            box.live_sent(last, now)
        else:
            assert box.backlog_sent(after, last, now)
        yield from range(after + 1, last + 1)

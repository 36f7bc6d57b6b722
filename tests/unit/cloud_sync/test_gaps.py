from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from cloud_sync.ingest import GAP_CEILING_SECONDS, GAP_PATIENCE_SECONDS, Gaps
from cloud_sync.store import Position
from tests.support.hall_day import EPOCH, OTHER_EPOCH


def at(contiguous: int, highest: int, hall: str = "hall-a", epoch: str = EPOCH) -> Position:
    return Position(hall, epoch, contiguous, highest)


def test_no_gap_is_never_asked_for() -> None:
    gaps = Gaps(Random(1))
    gaps.note(at(7, 7), 0.0)
    assert gaps.due(1e6) == []


def test_a_gap_is_asked_for_once_it_has_not_moved_for_a_second() -> None:
    gaps = Gaps(Random(1))
    gaps.note(at(3, 9), 100.0)
    assert gaps.due(100.0 + GAP_PATIENCE_SECONDS - 0.01) == []
    ((hall, ack),) = gaps.due(100.0 + GAP_PATIENCE_SECONDS)
    assert (hall, ack.epoch, ack.seq, ack.resend) == ("hall-a", EPOCH, 3, True)


def test_a_gap_that_is_being_filled_is_left_alone() -> None:
    gaps = Gaps(Random(1))
    for second in range(100):
        gaps.note(at(second, 1000), second * 0.9)
        assert gaps.due(second * 0.9) == []


def test_a_filled_gap_is_forgotten() -> None:
    gaps = Gaps(Random(1))
    gaps.note(at(3, 9), 0.0)
    gaps.note(at(9, 9), 0.5)
    assert gaps.due(1e6) == []
    assert len(gaps) == 0


@given(st.integers(), st.lists(st.floats(0.01, 5), min_size=1, max_size=300))
def test_asking_grows_seldom_and_never_stops(seed: int, steps: list[float]) -> None:
    gaps = Gaps(Random(seed))
    gaps.note(at(3, 9), 0.0)
    now = 0.0
    asked: list[float] = []
    for step in steps:
        now += step
        gaps.note(at(3, 9 + len(asked)), now)  # more came behind the gap: it is the same gap
        if gaps.due(now):
            asked.append(now)
    pauses = [after - before for before, after in pairwise(asked)]
    assert all(pause >= GAP_PATIENCE_SECONDS for pause in pauses)
    assert all(pause <= GAP_CEILING_SECONDS + 5 for pause in pauses)
    assert (now < GAP_PATIENCE_SECONDS) or asked


def test_each_hall_has_its_own_patience() -> None:
    gaps = Gaps(Random(1))
    gaps.note(at(3, 9), 0.0)
    gaps.note(at(5, 9, "hall-b"), 10.0)
    assert [hall for hall, _ in gaps.due(5.0)] == ["hall-a"]


def test_the_gap_of_an_epoch_that_the_hall_has_left_is_dropped() -> None:
    gaps = Gaps(Random(1))
    gaps.note(at(3, 9), 0.0)
    gaps.hall_is_at("hall-a", OTHER_EPOCH)
    assert gaps.due(1e6) == []
    gaps.note(at(3, 12), 1e6)  # something late of it
    assert gaps.due(2e6) == []
    gaps.note(at(0, 2, epoch=OTHER_EPOCH), 2e6)
    assert [ack.epoch for _, ack in gaps.due(3e6)] == [OTHER_EPOCH]


def test_a_hall_that_goes_back_to_an_earlier_journal_is_asked_for_that_one() -> None:
    gaps = Gaps(Random(1))
    gaps.hall_is_at("hall-a", OTHER_EPOCH)
    gaps.note(at(0, 2, epoch=OTHER_EPOCH), 0.0)
    gaps.hall_is_at("hall-a", EPOCH)
    gaps.note(at(3, 9), 1.0)
    assert [(ack.epoch, ack.seq) for _, ack in gaps.due(1e6)] == [(EPOCH, 3)]


def test_a_hall_that_says_nothing_of_its_epoch_is_in_the_one_that_it_sent_last() -> None:
    gaps = Gaps(Random(1))
    gaps.note(at(3, 9), 0.0)
    gaps.note(at(5, 5, epoch=OTHER_EPOCH), 0.0)
    assert gaps.due(1e6) == []

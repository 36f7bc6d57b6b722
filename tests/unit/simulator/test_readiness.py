"""Was it ready all that time?"""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from simulator.processes import Readiness

times = st.floats(0, 100, allow_nan=False)


def readiness(*changes: float) -> Readiness:
    made = Readiness()
    for index, at in enumerate(changes):
        made.set(index % 2 == 0, at)
    return made


def test_what_was_never_ready_was_ready_at_no_time() -> None:
    assert not Readiness().now
    assert not Readiness().throughout(1, 2)


def test_ready_from_before_until_after_is_ready_throughout() -> None:
    assert readiness(1, 5).throughout(2, 4)
    assert readiness(1).throughout(2, 1000)


def test_a_break_in_between_counts_however_short() -> None:
    assert not readiness(1, 3, 3.001).throughout(2, 4)


def test_what_became_ready_after_the_beginning_was_not_ready_throughout() -> None:
    assert not readiness(2).throughout(1, 3)


def test_saying_the_same_again_changes_nothing() -> None:
    made = readiness(1)
    made.set(True, 2)
    assert made.since == 1
    assert made.throughout(1, 3)


def test_its_breaks_are_told_with_their_true_beginning_and_end() -> None:
    made = readiness(1, 3, 4, 8)
    assert made.breaks(0, 100) == [(-inf, 1), (3, 4), (8, inf)]
    assert made.breaks(1, 2.5) == []
    assert made.breaks(3.5, 3.6) == [(3, 4)]
    assert Readiness().breaks(1, 2) == [(-inf, inf)]


@given(st.lists(times, max_size=8, unique=True).map(sorted), times, times)
def test_it_agrees_with_looking_at_every_change(
    changes: list[float], one: float, other: float
) -> None:
    begin, end = sorted((one, other))
    ready_at_begin = sum(at <= begin for at in changes) % 2 == 1
    changed_meanwhile = any(begin < at <= end for at in changes)
    expected = ready_at_begin and not changed_meanwhile
    assert readiness(*changes).throughout(begin, end) == expected


@given(st.lists(times, max_size=8, unique=True).map(sorted), times, times)
def test_no_break_is_the_same_as_ready_throughout(
    changes: list[float], one: float, other: float
) -> None:
    begin, end = sorted((one, other))
    made = readiness(*changes)
    assert (made.breaks(begin, end) == []) == made.throughout(begin, end)
